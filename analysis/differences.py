"""Paired differences on the same prompts, for one run and for a recipe.

The unit is the prompt: each side's mean over its samples, then the difference on the same
prompt. What the numbers are called is decided in ``verdicts``.

Shapes: P = prompts, S = seeds of a side; leading axes are free.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.stats.contingency_tables import mcnemar

from analysis.families import Families, Floats, jackknife_se, leave_one_family_out

__all__ = [
    "MIN_SEEDS",
    "Difference",
    "Discordance",
    "detectable_difference",
    "discordance",
    "holm",
    "interval",
    "is_equivalent",
    "paired_difference",
    "recipe_difference",
    "seed_variance",
]

MIN_SEEDS = 3
"""Fewer seeds on a side say nothing about a recipe: two means have one degree of freedom."""


class Difference(NamedTuple):
    """A difference of two rates; fields have the leading axes' shape, 0-d for one comparison."""

    estimate: Floats
    standard_error: Floats
    df: Floats
    """Degrees of freedom of t; NaN when a single family leaves no standard error."""
    p: Floats
    """Two-sided p of "no difference", before any adjustment."""


class Discordance(NamedTuple):
    """Prompts on which two sides with one sample each disagree."""

    num_only_ours: int
    num_only_theirs: int
    mcnemar_p: float
    """Exact; a description only, since it counts prompts of one family as independent."""


def paired_difference(ours: Floats, theirs: Floats, families: Families) -> Difference:
    """Compare two runs on the same prompts with family-clustered standard errors.

        d_i = ours_i - theirs_i,   estimate = mean_i d_i,   t with G - 1 degrees of freedom

    The standard error is the jackknife over families, but not below 1 / P, that of a table
    in which one prompt differs: where every prompt shows the same difference (0 against 0
    right answers, say) the data could not have shown less, and an interval of width 0
    would claim to know.

    Args:
        ours: (..., P) each prompt's mean over its samples.
        theirs: (..., P) the other side's, same prompts in the same order.
        families: One label per prompt.
    """
    values = ours - theirs
    estimate = np.asarray(values.mean(axis=-1))
    standard_error = _clustered_se(values, estimate, families)
    df = np.where(np.isnan(standard_error), np.nan, float(len(np.unique(families)) - 1))
    return _difference(estimate, standard_error, df)


def recipe_difference(
    ours: Floats, theirs: Floats, families: Families, *, is_theirs_baseline: bool = False
) -> Difference:
    """Compare two recipes, each trained with several seeds, on the same prompts.

        V = V_a + V_b + V_family,    V_side = max(0, s^2 - e^2 / P) / S
        df = V^2 / sum_j (V_j^2 / df_j)                           (Satterthwaite)

    s^2 is the variance between the means of a side's seeds, e^2 the mean square of what seed
    and prompt leave unexplained (two-way analysis of variance), and V_family the clustered
    variance of the difference of seed-averaged prompts. V_family already holds the sampling
    noise of the answers; left in s^2 it would count twice, and at 60 prompts the 95% interval
    would cover 97 to 99%. Seeds are not paired.

    An untrained baseline has no seed: it is one measurement, whose noise V_family holds.

        V = s^2 / S + V_family,    df = V / (s^2 / S / (S - 1) + V_family / (G - 1))

    There a single s^2 carries the seeds. Where it is small by chance, V is small and
    Satterthwaite's df large at the same time: up to 9% false verdicts at 5% with three seeds.
    So noise stays in s^2, and 1 / df is the mean weighted by variance, close to the quantile
    of Cochran and Cox (1950).

    Args:
        ours: (..., S_a, P), at least three seeds.
        theirs: (..., S_b, P), at least three seeds; (..., P) for a baseline.
        families: One label per prompt.
        is_theirs_baseline: ``theirs`` is one measurement of an untrained model.
    """
    trained = (ours,) if is_theirs_baseline else (ours, theirs)
    for side in trained:
        if side.shape[-2] < MIN_SEEDS:
            raise ValueError(f"{side.shape[-2]} seeds on one side, expected {MIN_SEEDS} or more")
    values = ours.mean(axis=-2) - (theirs if is_theirs_baseline else theirs.mean(axis=-2))
    estimate = np.asarray(values.mean(axis=-1))
    of_families = np.square(_clustered_se(values, estimate, families))
    if len(np.unique(families)) < 2:
        return _difference(estimate, np.sqrt(of_families), np.full(estimate.shape, np.nan))
    seeds = [seed_variance(side, is_noise_kept=is_theirs_baseline) for side in trained]
    terms = np.stack([of_families, *seeds])  # (J, ...)
    term_df = np.array([len(np.unique(families)) - 1, *(side.shape[-2] - 1 for side in trained)])
    term_df = term_df.reshape(-1, *(1,) * estimate.ndim)
    variance = terms.sum(axis=0)
    shares = terms / variance if is_theirs_baseline else np.square(terms / variance)
    return _difference(estimate, np.sqrt(variance), 1 / (shares / term_df).sum(axis=0))


def seed_variance(side: Floats, *, is_noise_kept: bool = False) -> Floats:
    """Return the variance that seeds add to a side's mean: (..., S, P) -> (...).

    Args:
        side: Each prompt's mean over its samples, at least two seeds.
        is_noise_kept: Leave the sampling noise of the answers in it.
    """
    num_seeds, num_prompts = side.shape[-2:]
    by_seed = side.mean(axis=-1, keepdims=True)
    between = by_seed[..., 0].var(axis=-1, ddof=1)
    if is_noise_kept:
        return np.asarray(between / num_seeds)
    by_prompt = side.mean(axis=-2, keepdims=True)
    unexplained = side - by_seed - by_prompt + by_prompt.mean(axis=-1, keepdims=True)
    noise = np.square(unexplained).sum(axis=(-2, -1)) / ((num_seeds - 1) * (num_prompts - 1))
    return np.asarray(np.maximum(between - noise / num_prompts, 0.0) / num_seeds)


def interval(difference: Difference, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the bounds of the t interval: estimate -+ t((1 + level) / 2, df) * se."""
    half = special.stdtrit(difference.df, (1 + level) / 2) * difference.standard_error
    return np.asarray(difference.estimate - half), np.asarray(difference.estimate + half)


def is_equivalent(difference: Difference, *, margin: float = 0.03) -> NDArray[np.bool_]:
    """Return whether the 90% interval lies within +-margin (two one-sided tests at 5%)."""
    low, high = interval(difference, level=0.90)
    return np.asarray((low > -margin) & (high < margin))


def detectable_difference(
    standard_error: float, df: float, *, alpha: float = 0.05, power: float = 0.80
) -> float:
    """Return the smallest true difference that a two-sided t test finds with ``power``.

    Solves P(|T| > t(1 - alpha / 2, df)) = power for the shift of the noncentral T, times
    the standard error. NaN without a standard error.
    """
    if not (np.isfinite(standard_error) and np.isfinite(df)):
        return float("nan")
    critical = stats.t.ppf(1 - alpha / 2, df)

    def shortfall(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - power

    # The median of the noncentral T is near its shift, hence the bracket; the other tail's
    # share of the power is below 1e-4 here and left out.
    return float(optimize.brentq(shortfall, 0.0, 4.0 * critical + 10.0)) * standard_error


def holm(p_values: Sequence[float], *, num_planned: int) -> Floats:
    """Adjust p values by Holm's method over a family whose size was planned.

    A planned comparison that yielded no p (a failed trial, a single family) counts as p = 1:
    the family does not shrink because something broke.

    Args:
        p_values: Those that were computed, in any order; NaN for none.
        num_planned: The size of the family, at least ``len(p_values)``.

    Returns:
        Adjusted p values in the order given.
    """
    missing = num_planned - len(p_values)
    if missing < 0:
        raise ValueError(f"{len(p_values)} p values in a family planned for {num_planned}")
    if not p_values:
        return np.empty(0)
    padded = np.concatenate((np.asarray(p_values, dtype=np.float64), np.ones(missing)))
    known = np.nan_to_num(padded, nan=1.0)
    # statsmodels' multipletests would collect garbage each time, for a tenth of a second.
    order = np.argsort(known)
    adjusted = np.empty(num_planned)
    adjusted[order] = np.maximum.accumulate(known[order] * np.arange(num_planned, 0, -1))
    return np.minimum(adjusted[: len(p_values)], 1.0)


def discordance(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Discordance:
    """Count the prompts that only one side answers rightly: (P,), (P,)."""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    both, neither = int((ours & theirs).sum()), int((~ours & ~theirs).sum())
    test = mcnemar([[both, only_ours], [only_theirs, neither]], exact=True)
    return Discordance(only_ours, only_theirs, float(test.pvalue))


def _clustered_se(values: Floats, estimate: Floats, families: Families) -> Floats:
    jackknife = jackknife_se(leave_one_family_out(values, families), estimate)
    return np.asarray(np.maximum(jackknife, 1 / values.shape[-1]), dtype=np.float64)


def _difference(estimate: Floats, standard_error: Floats, df: Floats) -> Difference:
    p = 2 * special.stdtr(df, -np.abs(estimate) / standard_error)
    return Difference(estimate, standard_error, df, np.asarray(p))
