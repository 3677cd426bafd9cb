"""A part of a suite that says as much as so few prompts can: spread over families."""

from collections.abc import Sequence

from trainables.tasks.task import Prompt

__all__ = ["select_prompts"]


def select_prompts(prompts: Sequence[Prompt], *, per_difficulty: int | None) -> tuple[Prompt, ...]:
    """Return all prompts, or up to ``per_difficulty`` of each difficulty.

    Families take turns in the order in which they first appear, so a part holds as many
    families as it can, and a smaller part is within a larger one. A part is ordered by
    difficulty, then by turn.
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
    """Order prompts so that each family gives its first one before any gives its second."""
    seen: dict[str, int] = {}
    turns: list[int] = []
    for prompt in prompts:
        turns.append(seen.get(prompt.family, 0))
        seen[prompt.family] = turns[-1] + 1
    order = sorted(range(len(prompts)), key=turns.__getitem__)
    return [prompts[position] for position in order]
