"""Single rates: intervals that know about families, pass@k and pass^k.

Differences are in ``differences``; words for them in ``verdicts``.

Shapes: P = prompts; leading axes are free.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from statsmodels.stats.proportion import proportion_confint

from analysis.families import Families, Floats, effective_families, leave_one_family_out

__all__ = ["Rate", "pass_at_k", "pass_hat_k", "wilson_rate"]


class Rate(NamedTuple):
    """A success rate over prompts with its interval; fields have the leading axes' shape."""

    estimate: Floats
    low: Floats
    high: Floats
    design_effect: Floats
    """By how much families inflate the variance of independent completions, at least 1."""


def wilson_rate(
    prompt_means: Floats, families: Families, *, num_completions: int, level: float = 0.95
) -> Rate:
    """Give the mean over prompts a Wilson interval whose n is divided by the design effect.

        deff = max(1, v / (p (1 - p) / n)),   n_effective = n / deff
        v = sum_g (p_(-g) - p)^2,             quantile t(G* - 1),   G* = P^2 / sum_g P_g^2

    with n completions, P_g prompts of family g, v the jackknife variance without its factor
    (G - 1) / G, and G* the number of families of equal size that would weigh as much. v and
    t stand where a survey would have many clusters (Korn and Graubard, 1998): with few
    families deff is a rough estimate, and skewed where rates are near 0 or 1. At a rate of
    exactly 0 or 1 the data say nothing about deff; there the prompts count as n, because
    further samples of a prompt are not new evidence about prompts.

    Args:
        prompt_means: (..., P) each prompt's mean over its samples, in [0, 1].
        families: One label per prompt.
        num_completions: n, all samples of all prompts.
        level: Coverage of the interval.

    Returns:
        The rate; bounds are NaN for a single family, which shows nothing about others, and 0
        and 1 where one of several holds nearly all prompts: the limit of a growing quantile.
    """
    estimate = np.asarray(prompt_means.mean(axis=-1))
    leave_out = leave_one_family_out(prompt_means, families)
    num_prompts, num_families = prompt_means.shape[-1], leave_out.shape[-1]
    if num_families < 2:
        unknown = np.full(estimate.shape, np.nan)
        return Rate(estimate, unknown, unknown, unknown)
    spread = estimate * (1 - estimate)
    is_inside = spread > 0
    binomial = np.where(is_inside, spread, 1.0) / num_completions
    variance = np.square(leave_out - estimate[..., np.newaxis]).sum(axis=-1)
    ratio = variance / binomial
    design_effect = np.where(is_inside, np.maximum(ratio, 1.0), num_completions / num_prompts)
    effective = num_completions / design_effect
    quantile = special.stdtrit(effective_families(families) - 1, (1 + level) / 2)
    alpha = 2 * special.ndtr(-quantile)
    if alpha == 0:
        return Rate(estimate, np.zeros_like(estimate), np.ones_like(estimate), design_effect)
    low, high = proportion_confint(estimate * effective, effective, alpha=alpha, method="wilson")
    return Rate(estimate, np.asarray(low), np.asarray(high), design_effect)


def pass_at_k(num_correct: NDArray[np.int64], num_samples: NDArray[np.int64], k: int) -> Floats:
    """Estimate the chance that one of k samples is right, without bias, per prompt.

        pass@k = 1 - C(n - c, k) / C(n, k)

    Chen et al. (2021), "Evaluating Large Language Models Trained on Code".

    Args:
        num_correct: c, right samples of each prompt.
        num_samples: n, samples of each prompt, each at least k.
        k: Samples drawn.
    """
    _check_samples(num_samples, k)
    return 1.0 - np.asarray(stats.hypergeom.pmf(0, num_samples, num_correct, k))


def pass_hat_k(num_correct: NDArray[np.int64], num_samples: NDArray[np.int64], k: int) -> Floats:
    """Estimate the chance that all of k samples are right (pass^k), without bias, per prompt.

        pass^k = C(c, k) / C(n, k)

    Yao et al. (2024), "tau-bench". Arguments as in ``pass_at_k``.
    """
    _check_samples(num_samples, k)
    return np.asarray(stats.hypergeom.pmf(k, num_samples, num_correct, k), dtype=np.float64)


def _check_samples(num_samples: NDArray[np.int64], k: int) -> None:
    if k < 1 or int(np.min(num_samples)) < k:
        raise ValueError(f"k = {k}, expected 1..{int(np.min(num_samples))} (the fewest samples)")
