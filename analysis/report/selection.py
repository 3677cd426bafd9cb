"""Which of many trials a figure shows. Tables always hold all of them."""

from collections.abc import Sequence
from typing import TypeVar

from analysis.sweep import SweepVerdicts

__all__ = ["MAX_PANELS", "MAX_ROWS", "MAX_SERIES", "shown_trials", "spread"]

MAX_PANELS = 12
"""Trials with a panel of their own."""
MAX_ROWS = 40
"""Trials with a row of their own."""
MAX_SERIES = 6
"""Series within one panel that marks keep apart."""

_T = TypeVar("_T")


def shown_trials(verdicts: SweepVerdicts, limit: int) -> tuple[str, ...]:
    """Return the ids of the trials that a figure shows, in the order of the plan.

    All, as long as they fit; else those that gained most and those that gained least, so
    that neither end is hidden.
    """
    ranked = sorted(
        (trial for trial in verdicts.trials if trial.verdict.effect is not None),
        key=lambda trial: trial.verdict.effect.estimate_pp if trial.verdict.effect else 0.0,
    )
    if len(ranked) > limit:
        half = limit // 2
        ranked = [*ranked[:half], *ranked[half - limit :]]
    chosen = {trial.plan.trial_id for trial in ranked}
    return tuple(trial.plan.trial_id for trial in verdicts.trials if trial.plan.trial_id in chosen)


def spread(items: Sequence[_T], limit: int) -> list[_T]:
    """Return all items, or ``limit`` of them at even distances."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
