"""Selects part of a suite, spread over as many families as possible."""

from collections.abc import Sequence

from trainables.tasks.task import Prompt

__all__ = ["select_prompts"]


def select_prompts(prompts: Sequence[Prompt], *, per_difficulty: int | None) -> tuple[Prompt, ...]:
    """Return all prompts, or up to ``per_difficulty`` of each difficulty.

    Families take turns in order of first appearance, so a selection covers as many families as
    possible, and a smaller selection is a subset of a larger one. It is ordered by difficulty,
    then by turn.
    """
    if per_difficulty is None:
        return tuple(prompts)
    if per_difficulty < 1:
        raise ValueError(f"per_difficulty = {per_difficulty}, expected 1 or more")
    tiers: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        tiers.setdefault(prompt.difficulty, []).append(prompt)
    return tuple(prompt for tier in tiers.values() for prompt in _in_turns(tier)[:per_difficulty])


def _in_turns(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Order prompts so that each family's first comes before any family's second."""
    seen: dict[str, int] = {}
    turns: list[int] = []
    for prompt in prompts:
        turns.append(seen.get(prompt.family, 0))
        seen[prompt.family] = turns[-1] + 1
    order = sorted(range(len(prompts)), key=turns.__getitem__)
    return [prompts[position] for position in order]
