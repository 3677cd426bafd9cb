"""How a trial learns from rewards: the fields of TRL's ``GRPOConfig`` that a file may set.

Names and defaults are TRL's own. Left out is what strictune decides itself (output
folders, seeds, reward weights, reporting, precision) and what needs an engine that is
not offered.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from strictune.config.base import Problem, refuse
from strictune.config.optimization import OptimizationSpec

__all__ = ["GrpoSpec"]


class GrpoSpec(OptimizationSpec):
    """Length, batch, optimizer, loss and sampling of the training."""

    max_steps: Annotated[int, Field(ge=1)]
    """Optimizer steps, over all stages."""
    num_generations: Annotated[int, Field(ge=2)] = 8
    """Completions per prompt; below 2 the advantage is always zero."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    """Peak learning rate."""
    beta: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL term (k3) against the base model; 0 loads no reference."""
    loss_type: Literal["grpo", "dr_grpo", "bnpo", "dapo"] = "dapo"
    """How token losses are averaged: per completion, by a constant, per pass, per step."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """Whose standard deviation divides the advantages."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Clipping range of the probability ratio."""
    num_iterations: Annotated[int, Field(ge=1)] = 1
    """Optimization passes over one batch of completions."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Sampling temperature of training, where a stage does not set its own."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling of training; 1 keeps all tokens."""
    max_completion_length: Annotated[int, Field(ge=1)] = 512
    """Tokens that a completion may have, without the think block's share."""
    max_think_length: Annotated[int, Field(ge=0)] = 0
    """Tokens added to ``max_completion_length`` in cells with thinking."""
    use_bias_correction_kl: bool = True
    """Weight the KL term by the importance ratio."""
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = (
        "sum_then_normalize"
    )
    """Whether components are summed before or after their group's normalization."""
    mask_truncated_completions: bool = False
    """Leave completions that hit the token limit out of the loss."""

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        refuse([*self.schedule_problems(), *self._loss_problems()])
        return self

    def _loss_problems(self) -> list[Problem]:
        if self.multi_objective_aggregation == "normalize_then_sum" and (
            self.scale_rewards != "group"
        ):
            return [
                Problem(
                    "scale_rewards",
                    f"= {self.scale_rewards} has no effect with multi_objective_aggregation = "
                    "normalize_then_sum, which divides each component by its group's deviation. "
                    "Leave scale_rewards at group.",
                )
            ]
        return []
