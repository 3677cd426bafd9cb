"""Which prompts a trial trains on, stage by stage.

A curriculum is data: stages with a share of the steps, a mix of difficulties and a
temperature. This module turns it into step counts and an ordered list of prompts; it knows
nothing of trainers.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from strictune.config import StageSpec, TrialSpec
from trainables.tasks.task import Prompt

__all__ = ["PlannedStage", "order_prompts", "plan_stages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """One stage with its place in the trial."""

    index: int
    spec: StageSpec
    num_steps: int
    first_step: int
    """Optimizer steps of the stages before it."""


def plan_stages(spec: TrialSpec) -> tuple[PlannedStage, ...]:
    """Return the trial's stages with their step counts, in order."""
    firsts = accumulate(spec.stage_steps, initial=0)
    return tuple(
        PlannedStage(index=index, spec=stage, num_steps=num_steps, first_step=first)
        for index, (stage, num_steps, first) in enumerate(
            zip(spec.stages, spec.stage_steps, firsts, strict=False)
        )
    )


def order_prompts(
    prompts: Sequence[Prompt], stage: StageSpec, *, num_prompts: int, seed: int
) -> list[Prompt]:
    """Draw the prompts of one stage, in training order.

    Each difficulty is a shuffled deck that is dealt without replacement and shuffled again
    when it is used up. With a mix, each prompt's difficulty is drawn by its weights; without
    one, the decks are one deck, so difficulties come as often as they are in the data.

    Raises:
        ValueError: The mix asks for a difficulty that has no prompts.
    """
    generator = random.Random(f"{seed}/{stage.name}")
    if not isinstance(stage.mix, dict):
        decks = {"": _Deck(prompts, generator)}
        names, weights = [""], [1.0]
    else:
        by_difficulty = {
            name: [prompt for prompt in prompts if prompt.difficulty == name] for name in stage.mix
        }
        names = [name for name, weight in stage.mix.items() if weight > 0]
        weights = [stage.mix[name] for name in names]
        empty = [name for name in names if not by_difficulty[name]]
        if empty:
            raise ValueError(
                f"stage {stage.name!r} mixes in {empty[0]!r}, of which there are no prompts."
            )
        decks = {name: _Deck(by_difficulty[name], generator) for name in names}
    return [decks[name].deal() for name in generator.choices(names, weights, k=num_prompts)]


class _Deck:
    def __init__(self, prompts: Sequence[Prompt], generator: random.Random) -> None:
        self._prompts = list(prompts)
        self._generator = generator
        self._left: list[Prompt] = []

    def deal(self) -> Prompt:
        if not self._left:
            self._left = self._generator.sample(self._prompts, len(self._prompts))
        return self._left.pop()
