"""A trial's spec to TRL's ``GRPOConfig``, for one stage.

Everything that a sweep file may set is passed on under its own name; what strictune decides
itself is in one place here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trl import GRPOConfig

from strictune.config import TrialSpec
from trainables.curriculum import PlannedStage
from trainables.models import training_device

__all__ = ["grpo_arguments"]

NOT_TRL_FIELDS = {"max_steps", "max_completion_length", "max_think_length", "temperature"}


def grpo_arguments(
    spec: TrialSpec,
    stage: PlannedStage,
    *,
    components: Sequence[str],
    folder: Path,
    rollouts: Mapping[str, Any],
) -> GRPOConfig:
    """Build the arguments of one stage's trainer.

    Args:
        spec: The trial.
        stage: Which stage.
        components: The task's reward components, in their order.
        folder: Where its checkpoints go.
        rollouts: What the trial's engine adds.
    """
    on_cpu = training_device() == "cpu"
    settings = spec.grpo.model_dump(exclude=NOT_TRL_FIELDS)
    if on_cpu:
        # Recomputing activations only costs time where memory is plentiful.
        settings["gradient_checkpointing"] = False
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=stage.num_steps,
        max_completion_length=spec.max_completion_tokens,
        temperature=stage.spec.temperature or spec.grpo.temperature,
        reward_weights=[spec.stage_weights(stage.spec)[name] for name in components],
        # Prompts come in the order that the curriculum dealt them.
        shuffle_dataset=False,
        remove_unused_columns=False,
        seed=spec.seed,
        bf16=spec.dtype == "bfloat16",
        trust_remote_code=spec.trust_remote_code,
        use_cpu=on_cpu,
        save_strategy="steps",
        save_steps=spec.checkpoint.save_steps,
        # Two, because the commit that points to the newer one comes after the older is removed.
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=not on_cpu,
        **settings,
        **rollouts,
    )
