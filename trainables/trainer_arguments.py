"""A trial's spec to the arguments of TRL's trainers, for one stage.

Everything that a sweep file may set is passed on under its own name.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from transformers import TrainingArguments
from trl import GRPOConfig

from strictune.config import ComputeDtype, TrialSpec
from trainables.curriculum import PlannedStage
from trainables.distributed import distributed_arguments
from trainables.models import training_device

__all__ = ["NOT_TRL_FIELDS", "grpo_arguments", "on_one_gpu", "trainer_arguments"]

NOT_TRL_FIELDS = (
    "max_steps",
    "max_completion_length",
    "max_think_length",
    "temperature",
    "kl_reference",
    "flat_groups",
)
"""Fields of a sweep file's ``grpo`` that are ours, or whose value a stage decides."""

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


def grpo_arguments(
    spec: TrialSpec,
    stage: PlannedStage,
    *,
    dtype: ComputeDtype,
    components: Sequence[str],
    folder: Path,
    rollouts: Mapping[str, Any],
) -> GRPOConfig:
    """Build the arguments of one stage's trainer.

    Args:
        spec: The trial.
        stage: Which stage.
        dtype: What it computes in.
        components: The task's reward components, in their order.
        folder: Where its checkpoints go.
        rollouts: What the trial's engine adds.
    """
    shared = trainer_arguments(spec, stage, dtype=dtype, folder=folder, without=NOT_TRL_FIELDS)
    # Between two steps of one generation its completions would be lost.
    per_batch = spec.grpo.optimizer_steps_per_generation
    shared["save_steps"] = math.ceil(shared["save_steps"] / per_batch) * per_batch
    if spec.grpo.multi_objective_aggregation in ("saw", "dvao"):
        # ``AggregatingTrainer`` does the rest.
        shared["multi_objective_aggregation"] = "sum_then_normalize"
    arguments = GRPOConfig(
        max_completion_length=spec.max_completion_tokens,
        temperature=stage.spec.temperature or spec.grpo.temperature,
        reward_weights=[spec.stage_weights(stage.spec)[name] for name in components],
        remove_unused_columns=False,
        **shared,
        **rollouts,
    )
    return on_one_gpu(arguments)
