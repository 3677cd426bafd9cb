"""A trial's spec to TRL's ``GRPOConfig``, for one stage.

Everything that a sweep file may set is passed on under its own name.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trl import GRPOConfig

from strictune.config import ComputeDtype, TrialSpec
from trainables.curriculum import PlannedStage
from trainables.trainer_arguments import on_one_gpu, trainer_arguments

__all__ = ["NOT_TRL_FIELDS", "grpo_arguments"]

NOT_TRL_FIELDS = (
    "max_steps",
    "max_completion_length",
    "max_think_length",
    "temperature",
    "kl_reference",
    "flat_groups",
)
"""Fields of a sweep file's ``grpo`` that are ours, or whose value a stage decides."""


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
