"""Rank correlation (Spearman) over all completions of all groups, with its standard error.

Would training be pushed alike? What a group weighs against the others counts, and a group
with zero spread takes part with advantage 0, as in training. The order within groups alone
is in ``analysis.replay.within``.

With centred average ranks u and v, rho = S / sqrt(U V), S = sum u v, U = sum u^2, V = sum v^2.
A completion's influence on rho also runs through the ranks that it gives the others, because
u_i = sum_j sign(x_i - x_j) / 2:

    dS_j = u_j v_j + sum_i (sign(x_i - x_j) v_i + sign(y_i - y_j) u_i) / 2,   dU and dV likewise
    influence_j = dS_j / sqrt(U V) - rho / 2 (dU_j / U + dV_j / V)

Influences are summed over a step, the unit of the standard errors (``analysis.replay.steps``),
and se^2 = K / (K - 1) * sum over K steps: the infinitesimal jackknife. On recorded matrices
it agrees with leaving out one step at a time and ranking again, at the cost of one ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.steps import Estimate

__all__ = ["Pool", "Ranking", "rank", "spearman"]

TIE = 1e-9
"""Advantages no farther apart than this, as parts of the largest, tie."""


class Ranking(NamedTuple):
    """An order of n completions with ties."""

    order: NDArray[np.int64]
    """(n,) the completions from the lowest to the highest."""
    below: NDArray[np.int64]
    """(n,) how many are below this one."""
    through: NDArray[np.int64]
    """(n,) how many are not above this one."""

    @property
    def centred(self) -> Floats:
        """(n,) average ranks minus their mean."""
        return (self.below + self.through - len(self.order)) / 2

    def sum_of_signs(self, values: Floats) -> Floats:
        """Return sum_i sign(x_i - x_j) / 2 values_i at each j, for values that add up to 0."""
        sums = np.concatenate(([0.0], np.cumsum(values[self.order])))
        found: Floats = -(sums[self.below] + sums[self.through]) / 2
        return found


class Correlation(NamedTuple):
    """Spearman's rho and what each completion adds to it."""

    rho: float
    influence: Floats
    """(n,) adds up to 0."""


def rank(values: Floats) -> Ranking:
    """Rank completions, (n,)."""
    order = np.argsort(values)
    ordered = values[order]
    is_new = np.diff(ordered) > TIE * np.abs(ordered[[0, -1]]).max()
    first = np.flatnonzero(np.concatenate(([True], is_new)))  # of each run of ties
    sizes = np.diff(np.append(first, len(values)))
    below, through = np.empty_like(order), np.empty_like(order)
    below[order] = np.repeat(first, sizes)
    through[order] = np.repeat(first + sizes, sizes)
    return Ranking(order, below, through)


def spearman(ours: Ranking, theirs: Ranking) -> Correlation:
    """Correlate two rankings of the same completions; NaN where one of them is a single tie."""
    u, v = ours.centred, theirs.centred
    uu, vv = float(u @ u), float(v @ v)
    if uu == 0 or vv == 0:
        return Correlation(np.nan, np.full(len(u), np.nan))
    rho = float(u @ v) / np.sqrt(uu * vv)
    d_uv = u * v + ours.sum_of_signs(v) + theirs.sum_of_signs(u)
    d_uu = u * u + 2 * ours.sum_of_signs(u)
    d_vv = v * v + 2 * theirs.sum_of_signs(v)
    influence = d_uv / np.sqrt(uu * vv) - rho / 2 * (d_uu / uu + d_vv / vv)
    return Correlation(rho, influence)


@dataclass(frozen=True, slots=True)
class Pool:
    """The completions of several trials under the default weights."""

    default: Ranking
    steps: NDArray[np.int64]
    """(n,) the step of each completion, counted through all trials."""

    @classmethod
    def of(cls, blocks: Sequence[Floats], starts: Sequence[NDArray[np.int64]]) -> "Pool":
        """Pool advantages under the default weights.

        Args:
            blocks: (1, N, G) for each trial.
            starts: (B,) the first group of each step, for each trial.
        """
        labels, num_steps = [], 0
        for block, first in zip(blocks, starts, strict=True):
            sizes = np.diff(np.append(first, block.shape[-1]))
            by_group = num_steps + np.repeat(np.arange(len(first)), sizes)
            labels.append(np.broadcast_to(by_group, block.shape).ravel())
            num_steps += len(first)
        return cls(rank(_flat(blocks)[0]), np.concatenate(labels))

    def correlate(self, blocks: Sequence[Floats]) -> Estimate:
        """Correlate other advantages, (W, N, G) for each trial, with the default's: (W,)."""
        found = [spearman(rank(row), self.default) for row in _flat(blocks)]
        by_step = [np.bincount(self.steps, weights=one.influence) for one in found]
        sums = np.array(by_step)  # (W, K)
        num_steps = sums.shape[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = np.square(sums).sum(axis=1) * np.divide(num_steps, num_steps - 1)
        return Estimate(
            np.array([one.rho for one in found]),
            np.sqrt(np.where(np.isfinite(variance), variance, np.nan)),
            np.full(len(found), float(len(self.steps))),
        )


def _flat(blocks: Sequence[Floats]) -> Floats:
    return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)
