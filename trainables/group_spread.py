"""Groups whose completions all have the same: what does not vary in a group teaches nothing."""

from collections.abc import Sequence

from trainables.tasks.task import Prompt, Score, Task

__all__ = ["flat_groups"]

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
    groups: dict[str, list[Score]] = {}
    for prompt, score in zip(prompts, scores, strict=True):
        groups.setdefault(prompt.id, []).append(score)
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


def _is_flat(values: Sequence[float | None]) -> list[bool]:
    """Say whether a group's values are equal; empty where fewer than two are known."""
    known = [value for value in values if value is not None]
    return [max(known) - min(known) <= SAME] if len(known) > 1 else []
