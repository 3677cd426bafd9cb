"""How every cell of a sweep is evaluated: one decoding block for all of them.

The token limit of thinking is part of the same block (``max_think_tokens``), so that the
block is the same text in every cell. A curriculum's temperatures never reach it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from strictune.config.base import Problem, Spec, refuse

__all__ = ["EvaluationSpec", "SamplingSpec"]


class SamplingSpec(Spec):
    """How many completions of which prompts a measurement takes, and how they are decoded."""

    samples_per_prompt: Annotated[int, Field(ge=1)] = 4
    """Completions per prompt."""
    temperature: Annotated[float, Field(ge=0)] = 0.7
    """Sampling temperature; 0 decodes greedily."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling; 1 keeps all tokens."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 512
    """Tokens that a completion may have, without the think block's share."""
    max_think_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens added to ``max_new_tokens`` in cells with thinking."""
    num_prompts_per_difficulty: Annotated[int, Field(ge=1)] | None = None
    """So many prompts of each difficulty, spread over its families; null uses all."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Completions that are generated together."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampling, the same in every trial."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.temperature == 0 and self.samples_per_prompt > 1:
            text = (
                f"= {self.samples_per_prompt} at temperature 0 repeats one completion. Set "
                "samples_per_prompt to 1, or temperature above 0."
            )
            refuse(Problem("samples_per_prompt", text))
        return self

    def max_tokens(self, *, thinking: bool) -> int:
        """Return the token limit of a completion."""
        return self.max_new_tokens + thinking * self.max_think_tokens


class EvaluationSpec(SamplingSpec):
    """Suite and decoding of the stage evaluations, the final one and the baselines."""

    split: Literal["validation"] = "validation"
    """Evaluated after each stage, and what the best adapter is chosen on; never the test split."""
    final_split: Literal["validation", "test"] = "test"
    """Evaluated once at the end, and for the baseline; verdicts are about it."""
