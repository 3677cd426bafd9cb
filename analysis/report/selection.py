"""Which of many trials a figure shows. Tables always hold all of them."""

from collections.abc import Collection, Sequence
from typing import TypeVar

from analysis.sweep import SweepVerdicts

__all__ = [
    "MAX_PANELS",
    "MAX_ROWS",
    "MAX_SERIES",
    "shown_trials",
    "spread",
    "trials_left_out",
]

MAX_PANELS = 12
"""Trials with a panel of their own."""
MAX_ROWS = 40
"""Trials with a row of their own."""
MAX_SERIES = 6
"""Series within one panel that marks keep apart."""

_T = TypeVar("_T")


def shown_trials(verdicts: SweepVerdicts, limit: int) -> tuple[str, ...]:
    """Return the ids of the trials that a figure shows, in the order of the plan.

    All that have a result, as long as they fit; else those that gained most and those that
    gained least, so that neither end is hidden. Trials without a baseline to gain over come last.
    """
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    gains = {
        trial.plan.trial_id: trial.verdict.effect.estimate_pp
        for trial in finished
        if trial.verdict.effect is not None
    }
    ranked = sorted(gains, key=lambda name: gains[name])
    if len(ranked) > limit:
        half = limit // 2
        chosen = {*ranked[:half], *ranked[half - limit :]}
    else:
        others = [trial.plan.trial_id for trial in finished if trial.plan.trial_id not in gains]
        chosen = {*ranked, *others[: limit - len(ranked)]}
    return tuple(trial.plan.trial_id for trial in finished if trial.plan.trial_id in chosen)


def trials_left_out(verdicts: SweepVerdicts, shown: Collection[str], limit: int) -> str:
    """Say which finished trials a figure does not show; empty if it shows all.

    Args:
        verdicts: Of the sweep.
        shown: Ids of the trials that the figure has rows of.
        limit: Trials that it shows at most.
    """
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    others = [trial.plan.trial_id for trial in finished if trial.verdict.effect is None]
    if len(finished) - len(others) > limit:
        half = limit // 2
        return (
            f" Of {len(finished)} finished trials the {half} with the smallest and the "
            f"{limit - half} with the largest gain are shown; the tables hold all."
        )
    num_left_out = sum(name not in shown for name in others)
    if not num_left_out:
        return ""
    return (
        f" Not shown: {num_left_out} of {len(finished)} finished trials, without a gain over a "
        "baseline; the tables hold all."
    )


def spread(items: Sequence[_T], limit: int) -> list[_T]:
    """Return all items, or ``limit`` of them at even distances."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
