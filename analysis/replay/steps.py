"""Means over groups, with standard errors that take a step of a trial as the unit.

The groups of one optimizer step come from one policy, so they are dropped together (the
jackknife of ``analysis.families``). Drift over a training run counts as noise here, which
makes the errors larger, and what another seed would give is not in them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats, jackknife_se

__all__ = ["Estimate", "mean_over_steps", "step_sums"]


class Estimate(NamedTuple):
    """Numbers with their standard errors; NaN where there is nothing to measure."""

    value: Floats
    standard_error: Floats
    num: Floats
    """What the mean is over: groups or completions."""


def step_sums(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Sum over the groups of each step: (..., G) -> (..., B)."""
    found: Floats = np.add.reduceat(values, starts, axis=-1)
    return found


def mean_over_steps(sums: Floats, counts: Floats) -> Estimate:
    """Return the ratio of totals: (..., B), (..., B) -> (...).

    Args:
        sums: What each step adds to the numerator.
        counts: How much of the denominator each step holds.
    """
    all_sums, all_counts = sums.sum(axis=-1), counts.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(all_sums / all_counts, dtype=np.float64)
        left = (all_sums[..., np.newaxis] - sums) / (all_counts[..., np.newaxis] - counts)
    return Estimate(value, jackknife_se(left, value), all_counts)
