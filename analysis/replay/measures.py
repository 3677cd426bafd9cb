"""What a weight vector would have made of the groups of a recorded matrix.

Shapes: W = weight vectors, N = completions of a group, G = groups, B = steps, C = components.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.advantages import (
    Aggregation,
    Scheme,
    Scores,
    advantages,
    score_completions,
)
from analysis.replay.matrices import RewardMatrix
from analysis.replay.steps import Estimate, mean_over_steps, step_sums
from analysis.replay.within import Signs, group_rank_correlation, rank_signs

__all__ = [
    "GROUP_MEASURES",
    "Reference",
    "Replayed",
    "average_groups",
    "group_measures",
    "replay_matrix",
]

GROUP_MEASURES = (
    "group_rank_correlation",
    "zero_spread_frac",
    "wrong_best_frac",
    "tied_best_frac",
    "rung_correlation",
)
"""The measures that are means over groups, in report order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One trial's matrix under the default weights, computed once."""

    matrix: RewardMatrix
    signs: Signs
    """(1, N, G) from ``rank_signs``."""
    advantages: Floats
    """(1, N, G)"""

    @classmethod
    def of(cls, matrix: RewardMatrix, weights: Floats, scheme: Scheme) -> "Reference":
        """Compute it for ``weights`` (C,)."""
        scores = score_completions(matrix.rewards, weights[np.newaxis], scheme.aggregation)
        return cls(
            matrix=matrix,
            signs=rank_signs(scores),
            advantages=advantages(scores, scheme, matrix.starts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One trial's matrix under other weights."""

    scores: Scores
    starts: NDArray[np.int64]
    """(B,) the first group of each step."""
    sums: dict[str, Floats]
    """By measure, (W, B): the sum over the groups of each step that the measure is about."""
    counts: dict[str, Floats]
    """By measure, (W, B): how many groups those are."""


def replay_matrix(reference: Reference, weights: Floats, aggregation: Aggregation) -> Replayed:
    """Score a matrix under ``weights`` (W, C) and measure its groups."""
    matrix = reference.matrix
    scores = score_completions(matrix.rewards, weights, aggregation)
    found = group_measures(scores, reference.signs, matrix.is_passing)
    counted = {name: ~np.isnan(values) for name, values in found.items()}
    return Replayed(
        scores=scores,
        starts=matrix.starts,
        sums={name: step_sums(np.nan_to_num(found[name]), matrix.starts) for name in found},
        counts={
            name: step_sums(is_in.astype(np.float64), matrix.starts)
            for name, is_in in counted.items()
        },
    )


def group_measures(
    scores: Scores, reference_signs: Signs, is_passing: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Measure each group: by name of ``GROUP_MEASURES``, (W, G); NaN where it is not about it.

    - group_rank_correlation: Spearman with the default's order; groups with spread under both.
    - zero_spread_frac: 1 where all completions score equal; all groups.
    - wrong_best_frac: 1 where a failing completion scores above all passing ones;
      tied_best_frac: 1 where one ties with the best passing one, at the top; mixed groups,
      which hold both.
    - rung_correlation: correlation of the scores with passing, 0 without spread; mixed groups.
    """
    is_flat = scores.is_flat
    is_mixed = is_passing.any(axis=0) & ~is_passing.all(axis=0)  # (G,)
    best_passing = np.where(is_passing, scores.values, -np.inf).max(axis=1)  # (W, G)
    best_failing = np.where(is_passing, -np.inf, scores.values).max(axis=1)
    lead = best_failing - best_passing
    return {
        "group_rank_correlation": group_rank_correlation(rank_signs(scores), reference_signs),
        "zero_spread_frac": is_flat.astype(np.float64),
        "wrong_best_frac": np.where(is_mixed, lead > scores.tie, np.nan),
        "tied_best_frac": np.where(is_mixed, np.abs(lead) <= scores.tie, np.nan),
        "rung_correlation": np.where(is_mixed, _passing_correlation(scores, is_passing), np.nan),
    }


def average_groups(replayed: Sequence[Replayed]) -> dict[str, Estimate]:
    """Average the groups of several trials: by measure, over the W weight vectors."""
    return {
        name: mean_over_steps(
            np.concatenate([trial.sums[name] for trial in replayed], axis=-1),
            np.concatenate([trial.counts[name] for trial in replayed], axis=-1),
        )
        for name in GROUP_MEASURES
    }


def _passing_correlation(scores: Scores, is_passing: NDArray[np.bool_]) -> Floats:
    """Pearson's correlation in each group, 0 where it has zero spread: (W, G)."""
    passing = is_passing - is_passing.mean(axis=0)  # (N, G)
    values = scores.values - scores.values.mean(axis=1, keepdims=True)
    spread = np.square(values).sum(axis=1) * np.square(passing).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (values * passing).sum(axis=1) / np.sqrt(spread)
    return np.where(scores.is_flat, 0.0, found)
