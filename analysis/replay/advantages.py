"""Group advantages as TRL computes them, for many weight vectors at once.

The formulas are those of ``GRPOTrainer._generate_and_score_completions`` in TRL 1.16, for
completions that every component scored. ``r`` is a completion's value of component k, ``w``
the weight, ``mean`` and ``std`` (divisor n - 1) run over the group, ``batch`` over all
completions that were generated for one optimizer step:

    sum_then_normalize   s = sum_k w_k r_k,   a = (s - mean s) / (std s + 1e-4)
                         scale_rewards batch: std over the batch; none: no division
    normalize_then_sum   s = sum_k w_k (r_k - mean r_k) / (std r_k + 1e-4)
                         a = (s - batch mean s) / (batch std s + 1e-4)

Within a group, the order of the completions therefore depends on the aggregation and never
on ``scale_rewards``, which only sets what a group weighs against the others.

Shapes: W = weight vectors, C = components, N = completions of a group, G = groups, ordered
by step; B = steps. Groups come last, so that all arithmetic over a group runs along memory.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats

__all__ = [
    "NORMALIZE_THEN_SUM",
    "SCHEMES",
    "Aggregation",
    "Scheme",
    "Scores",
    "advantages",
    "score_completions",
]

Aggregation: TypeAlias = Literal["sum_then_normalize", "normalize_then_sum"]
Scale: TypeAlias = Literal["group", "batch", "none"]

SUM_THEN_NORMALIZE: Aggregation = "sum_then_normalize"
NORMALIZE_THEN_SUM: Aggregation = "normalize_then_sum"

STD_FLOOR = 1e-4
"""What TRL adds to a standard deviation before it divides by it."""

TIE = 1e-8
"""Scores no farther apart than this times the sum of the weights are equal. The arithmetic leaves
1e-13, and a difference of 1e-8 moves an advantage by 1e-4 of a standard deviation at most."""


class Scheme(NamedTuple):
    """How TRL turns weighted components into advantages."""

    aggregation: Aggregation
    """``multi_objective_aggregation``."""
    scale_rewards: Scale
    """Ignored by ``normalize_then_sum``, for which it stays at TRL's default, ``group``."""

    @property
    def label(self) -> str:
        """What tables call it, e.g. ``sum_then_normalize, batch``."""
        if self.aggregation == NORMALIZE_THEN_SUM:
            return self.aggregation
        return f"{self.aggregation}, {self.scale_rewards}"


SCHEMES = (
    Scheme(SUM_THEN_NORMALIZE, "group"),
    Scheme(SUM_THEN_NORMALIZE, "batch"),
    Scheme(SUM_THEN_NORMALIZE, "none"),
    Scheme(NORMALIZE_THEN_SUM, "group"),
)
"""All that TRL offers and that differ."""


class Scores(NamedTuple):
    """What completions are worth before they are centred."""

    values: Floats
    """(W, N, G) the ``s`` of the formulas."""
    tie: Floats
    """(W, 1) completions tie whose values are no farther apart than this."""

    @property
    def is_flat(self) -> NDArray[np.bool_]:
        """(W, G) the group's completions all tie: it has zero spread."""
        return np.asarray(self.values.max(axis=1) - self.values.min(axis=1) <= self.tie)


def score_completions(rewards: Floats, weights: Floats, aggregation: Aggregation) -> Scores:
    """Aggregate raw components.

    Args:
        rewards: (C, N, G) raw components.
        weights: (W, C) not negative, each row with a positive sum.
        aggregation: What comes first, the sum or the normalization.
    """
    if aggregation == NORMALIZE_THEN_SUM:
        deviations = rewards - rewards.mean(axis=1, keepdims=True)
        rewards = deviations / (rewards.std(axis=1, ddof=1, keepdims=True) + STD_FLOOR)
    values: Floats = np.tensordot(weights, rewards, axes=1)
    return Scores(values, TIE * weights.sum(axis=1, keepdims=True))


def advantages(scores: Scores, scheme: Scheme, starts: NDArray[np.int64]) -> Floats:
    """Centre and scale scores: (W, N, G). A group with zero spread gets exact zeros.

    Args:
        scores: From ``score_completions`` with the scheme's aggregation.
        scheme: Which formula.
        starts: (B,) the first group of each step.
    """
    values = scores.values
    if scheme.aggregation == NORMALIZE_THEN_SUM:
        mean, std = _batch_moments(values, starts)
        found = (values - mean) / (std + STD_FLOOR)
    else:
        found = values - values.mean(axis=1, keepdims=True)
        if scheme.scale_rewards == "group":
            found /= values.std(axis=1, ddof=1, keepdims=True) + STD_FLOOR
        elif scheme.scale_rewards == "batch":
            found /= _batch_moments(values, starts)[1] + STD_FLOOR
    found *= ~scores.is_flat[:, np.newaxis, :]
    return found


def _batch_moments(values: Floats, starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean and std (divisor n - 1) over each step's completions, at each group: 2 x (W, 1, G)."""
    num_groups = values.shape[-1]
    sizes = np.diff(np.append(starts, num_groups))  # (B,) groups of each step
    counts = sizes * values.shape[1]

    def per_group(per_completion: Floats, divisors: NDArray[np.int64]) -> Floats:
        sums = np.add.reduceat(per_completion.sum(axis=1), starts, axis=-1)  # (W, B)
        return np.repeat(sums / divisors, sizes, axis=-1)[:, np.newaxis, :]

    mean = per_group(values, counts)
    return mean, np.sqrt(per_group(np.square(values - mean), counts - 1))
