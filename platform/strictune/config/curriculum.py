"""A curriculum as data: the stages that a trial trains through, one after the other.

Which curricula exist is the task's business (their mixes name its difficulties) and the
sweep file's (``trial.curricula``). How a stage is trained is the trainable's.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from strictune.config.base import Problem, Spec

__all__ = ["Method", "StageSpec", "Stages", "stage_problems", "stage_steps"]

Method = Literal["grpo", "sft"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]

SUM_TOLERANCE = 1e-6


class StageSpec(Spec):
    """One stage: its share of the steps, and where it differs from the rest of the trial."""

    name: Name
    """Names the stage's adapter and evaluation folders."""
    steps_frac: Annotated[float, Field(gt=0, le=1)]
    """Share of ``grpo.max_steps``; the shares of all stages add up to 1."""
    method: Method | None = None
    """sft trains this stage on gold completions, as many as it would have with grpo; null trains
    by the trial's ``method``."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the stage; null keeps that of ``grpo`` or ``sft``."""
    mix: dict[str, Annotated[float, Field(ge=0)]] | Literal["adaptive"] | None = None
    """Relative weight of each difficulty; null takes prompts as the data has them; adaptive, with
    GRPO, those whose groups are likely to have both passes and failures."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Sampling temperature of the stage; null keeps ``grpo.temperature``. GRPO alone samples."""
    rewards: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """Reward weights of the stage, written as ``trial.rewards``; null keeps the cell's."""

    @property
    def is_adaptive(self) -> bool:
        """Whether its prompts follow what the model passes."""
        return self.mix == "adaptive"


Stages = Annotated[tuple[StageSpec, ...], Field(min_length=1)]


def stage_steps(stages: Sequence[StageSpec], *, max_steps: int) -> tuple[int, ...]:
    """Split ``max_steps`` over the stages; the parts always add up to it.

    The ends of the stages are rounded, not their lengths, so that errors do not pile up.
    """
    ends = [0]
    share = 0.0
    for stage in stages[:-1]:
        share += stage.steps_frac
        ends.append(math.floor(share * max_steps + 0.5))
    ends.append(max_steps)
    return tuple(end - start for start, end in itertools.pairwise(ends))


def stage_problems(
    stages: Sequence[StageSpec],
    *,
    key: str,
    method: Method,
    max_steps: int,
    difficulties: Sequence[str],
) -> list[Problem]:
    """Say why these stages cannot be trained; an empty list when they can."""
    problems = []
    total = math.fsum(stage.steps_frac for stage in stages)
    if abs(total - 1.0) > SUM_TOLERANCE:
        problems.append(Problem(key, f"has steps_frac that add up to {total:g}, expected 1."))
    names = [stage.name for stage in stages]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(key, f"has two stages named {name}; names must differ."))
    problems += _method_problems(stages, key=key, method=method)
    for index, stage in enumerate(stages):
        problems += _mix_problems(
            stage,
            key=f"{key}.{index}.mix",
            method=stage.method or method,
            difficulties=difficulties,
        )
    if not problems:
        problems += _empty_stages(stages, key=key, max_steps=max_steps)
    return problems


def _method_problems(stages: Sequence[StageSpec], *, key: str, method: Method) -> list[Problem]:
    """Keep a trial of method sft one of nothing else, and a trial of grpo one that has rewards."""
    if method == "sft":
        text = (
            "= grpo, but the trial's method is sft: it trains on gold completions alone. Leave the "
            "stage's method out, or set the trial's to grpo."
        )
        return [
            Problem(f"{key}.{index}.method", text)
            for index, stage in enumerate(stages)
            if stage.method == "grpo"
        ]
    if all(stage.method == "sft" for stage in stages):
        text = "has method = sft in every stage. Set the trial's method to sft instead."
        return [Problem(key, text)]
    return [
        Problem(
            f"{key}.{index}.{name}",
            "has no effect in a stage of method sft, which neither samples nor earns. Drop it.",
        )
        for index, stage in enumerate(stages)
        if stage.method == "sft"
        for name in ("temperature", "rewards")
        if getattr(stage, name) is not None
    ]


def _mix_problems(
    stage: StageSpec, *, key: str, method: Method, difficulties: Sequence[str]
) -> list[Problem]:
    if stage.mix is None:
        return []
    if stage.mix == "adaptive":
        text = (
            "= adaptive in a stage of method sft, which answers nothing and so has no pass rates. "
            "Use grpo, or weights of difficulties."
        )
        return [Problem(key, text)] if method == "sft" else []
    known = ", ".join(difficulties)
    unknown = [name for name in stage.mix if name not in difficulties]
    if unknown:
        return [
            Problem(f"{key}.{name}", f"names no difficulty of the task, expected one of {known}.")
            for name in unknown
        ]
    if sum(stage.mix.values()) == 0:
        return [Problem(key, f"adds up to 0; give a weight above 0 to at least one of {known}.")]
    return []


def _empty_stages(stages: Sequence[StageSpec], *, key: str, max_steps: int) -> list[Problem]:
    steps = stage_steps(stages, max_steps=max_steps)
    return [
        Problem(
            f"{key}.{index}.steps_frac",
            f"= {stage.steps_frac:g} of grpo.max_steps = {max_steps} leaves no step for the stage "
            f"{stage.name}. Raise grpo.max_steps, or drop the stage.",
        )
        for index, stage in enumerate(stages)
        if steps[index] < 1
    ]
