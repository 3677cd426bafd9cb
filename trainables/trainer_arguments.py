"""The arguments that all of TRL's trainers share."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from transformers import TrainingArguments

from strictune.config import ComputeDtype, TrialSpec
from trainables.curriculum import PlannedStage
from trainables.distributed import distributed_arguments
from trainables.models import training_device

__all__ = ["on_one_gpu", "trainer_arguments"]

Arguments = TypeVar("Arguments", bound=TrainingArguments)


def on_one_gpu(arguments: Arguments) -> Arguments:
    """Keep a trainer on this process's GPU where the process sees several.

    Ray shows each process its own. Elsewhere transformers would spread the model over all of
    them with ``DataParallel``, which TRL refuses. Ranks that somebody else started have one each.
    """
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def trainer_arguments(
    spec: TrialSpec,
    stage: PlannedStage,
    *,
    dtype: ComputeDtype,
    folder: Path,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Return the arguments of one stage that all of TRL's trainers know.

    Args:
        spec: The trial.
        stage: Which stage.
        dtype: What it computes in; float16 brings the trainer's loss scaling.
        folder: Where its checkpoints go.
        without: Fields of the stage's training block that are none of TRL's.
    """
    on_cpu = training_device() == "cpu"
    settings = spec.stage_optimization(stage.spec).model_dump(exclude=set(without))
    if on_cpu:
        # Recomputing activations only costs time where memory is plentiful.
        settings["gradient_checkpointing"] = False
    return {
        "output_dir": str(folder),
        "max_steps": stage.num_steps,
        # Prompts come in the order that the curriculum dealt them.
        "shuffle_dataset": False,
        "seed": spec.seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "trust_remote_code": spec.trust_remote_code,
        "use_cpu": on_cpu,
        "save_strategy": "steps",
        "save_steps": spec.checkpoint.save_steps,
        # Two, because the commit that points to the newer one comes after the older is removed.
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "dataloader_pin_memory": not on_cpu,
        **settings,
        **distributed_arguments(spec),
    }
