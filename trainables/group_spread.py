"""Metrics of a batch's groups: those that are flat, and those in which failing pays more."""

import math
from collections.abc import Mapping, Sequence

from trainables.tasks.task import Prompt, Score, Task

__all__ = ["flat_groups", "wrong_above_right"]

PARTS = "parts"
SAME = 1e-9
"""Values that differ by no more are equal."""


def flat_groups(task: Task, prompts: Sequence[Prompt], scores: Sequence[Score]) -> dict[str, float]:
    """Return the share of groups in which each measure is flat, as metrics.

    Parts of the reward are counted together, each in the groups that have it: their names are
    the data's. A group in which fewer than two values are known is in no count.

    Args:
        task: Names the measures.
        prompts: Of a batch, whole groups.
        scores: One for each prompt.
    """
    groups = _groups(prompts, scores)
    is_flat: dict[str, list[bool]] = {name: [] for name in (*task.measures, PARTS)}
    for group in groups.values():
        for name in task.measures:
            is_flat[name] += _is_flat([score.measures.get(name) for score in group])
        for part in dict.fromkeys(part for score in group for part in score.parts):
            is_flat[PARTS] += _is_flat([score.parts.get(part) for score in group])
    return {
        f"{name}/zero_std_groups_frac": sum(known) / len(known)
        for name, known in is_flat.items()
        if known
    }


def wrong_above_right(
    criterion: str,
    prompts: Sequence[Prompt],
    scores: Sequence[Score],
    *,
    weights: Mapping[str, float],
) -> dict[str, float]:
    """Return how often a failing completion earned more than a passing one of its group.

    As a metric: the share of all pairs of a failing and a passing completion of one group. Empty
    for a batch without such a pair.

    Args:
        criterion: What passing is.
        prompts: Of a batch, whole groups.
        scores: One for each prompt.
        weights: Of the reward components.
    """
    num_above = num_pairs = 0
    for group in _groups(prompts, scores).values():
        totals: dict[bool, list[float]] = {True: [], False: []}
        for score in group:
            if criterion in score.criteria and score.rewards:
                earned = (weights[name] * value for name, value in score.rewards.items())
                totals[score.criteria[criterion]].append(math.fsum(earned))
        num_pairs += len(totals[True]) * len(totals[False])
        num_above += sum(
            failing > passing + SAME for failing in totals[False] for passing in totals[True]
        )
    return {"failing_above_passing_frac": num_above / num_pairs} if num_pairs else {}


def _groups(prompts: Sequence[Prompt], scores: Sequence[Score]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for prompt, score in zip(prompts, scores, strict=True):
        groups.setdefault(prompt.id, []).append(score)
    return groups


def _is_flat(values: Sequence[float | None]) -> list[bool]:
    """Say whether a group's values are equal; empty where fewer than two are known."""
    known = [value for value in values if value is not None]
    return [max(known) - min(known) <= SAME] if len(known) > 1 else []
