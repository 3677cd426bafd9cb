"""How a trial of ``method: sft`` trains: the fields of TRL's ``SFTConfig`` that a file may set.

Supervised training is a control: would it have done what the rewards did? So it takes what it
is held against from ``grpo``: the prompts, in the order and the stages in which GRPO is dealt
them, and the token limit of a completion. How many steps it has follows from them.
"""

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from strictune.config.base import refuse
from strictune.config.grpo import GrpoSpec
from strictune.config.optimization import OptimizationSpec

__all__ = ["SftSpec", "SftStage", "sft_stage"]


class SftSpec(OptimizationSpec):
    """Amount, batch and optimizer of the training on gold completions."""

    match: Literal["completions", "prompts"] = "completions"
    """What is equal to a GRPO trial of the same ``grpo`` block, beside the prompts. completions:
    each gold is trained on as often as GRPO trains on a completion of its prompt, in as many
    passes over a stage, so that the completion tokens are about the same. prompts: once."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    """Peak learning rate. Adapters usually want ten times the default, which is TRL's."""

    @model_validator(mode="after")
    def _schedule_agrees(self) -> Self:
        refuse(self.schedule_problems())
        return self


class SftStage(NamedTuple):
    """What one stage of a supervised trial trains on."""

    num_dealt: int
    """Prompts that GRPO is dealt in this stage, which decides their order."""
    num_prompts: int
    """The first of them, those that GRPO trains on: fewer with ``num_iterations`` above 1."""
    num_completions: int
    """Their gold completions, in as many passes as it takes."""
    num_steps: int
    """Optimizer steps; the last one may have fewer completions."""


def sft_stage(sft: SftSpec, grpo: GrpoSpec, *, grpo_steps: int, num_workers: int = 1) -> SftStage:
    """Return what stands against ``grpo_steps`` optimizer steps of GRPO with as many workers."""
    completions_per_step = grpo.completions_per_step * num_workers
    prompts_per_step = completions_per_step // grpo.num_generations
    num_prompts = math.ceil(grpo_steps / grpo.num_iterations) * prompts_per_step
    num_trained = grpo_steps * completions_per_step
    num_completions = num_trained if sft.match == "completions" else num_prompts
    return SftStage(
        num_dealt=grpo_steps * prompts_per_step,
        num_prompts=num_prompts,
        num_completions=num_completions,
        num_steps=math.ceil(num_completions / (sft.completions_per_step * num_workers)),
    )
