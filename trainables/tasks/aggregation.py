"""Two aggregations of reward components that adapt to the batch.

Both start from the weights of the sweep file and shift them towards the components in which
completions still differ.

- ``saw_weights``: He et al. 2026, "SAW: Stage-Aware Dynamic Weighting" (arXiv 2606.07705), for
  weighted sums of rewards. CV is the coefficient of variation over all completions of a batch:

      w'_k = w_k n CV_k / sum_l CV_l,    CV_k = sd(r_k) / (mean(r_k) - lowest_k + delta)

  The paper subtracts the lowest value that a component can take. External reward functions do not
  declare one, so this module uses the batch minimum if it is negative, otherwise 0.

- ``dvao_scores``: Jiang et al. 2026, "DVAO" (arXiv 2605.25604), group by group:

      s = sum_k w'_k (r_k - mean r_k) / sd r_k,    w'_k = w_k sd r_k / sum_l w_l sd r_l

  This is a weighted sum, centred and divided by the weighted mean of its components' deviations
  instead of by its own deviation. It orders a group as the sum does, and gives smaller advantages
  where components disagree.

Shapes: C = components, N = completions of a group, G = groups. NaN: component not applicable.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["STD_FLOOR", "dvao_scores", "saw_weights"]

Floats: TypeAlias = NDArray[np.float64]

STD_FLOOR = 1e-4
"""Added to a standard deviation before dividing by it, as TRL does; also delta above."""


def saw_weights(rewards: Floats, weights: Floats) -> Floats:
    """Return the SAW weights of a batch: rewards (C, N, G), weights (C,) -> (C,).

    Components of weight 0 are ignored. If none of the others varies, weights are unchanged.

    Args:
        rewards: Raw components of the whole batch.
        weights: Weights of the sweep file.
    """
    values = np.ma.masked_invalid(rewards.reshape(len(rewards), -1))  # (C, N G)
    lowest = np.minimum(values.min(axis=1).filled(0.0), 0.0)
    means = values.mean(axis=1).filled(0.0) - lowest
    variation = values.std(axis=1, ddof=1).filled(0.0) / (means + STD_FLOOR)
    variation = np.where(weights > 0, variation, 0.0)
    total = float(variation.sum())
    if total < STD_FLOOR:
        return weights.copy()
    return np.asarray(weights * (weights > 0).sum() * variation / total)


def dvao_scores(rewards: Floats, weights: Floats) -> Floats:
    """Return the advantages of a batch: rewards (C, N, G), weights (C,) or (C, G) -> (N, G)."""
    known = np.ma.masked_invalid(rewards)
    centred = known - known.mean(axis=1, keepdims=True)
    deviations = centred.std(axis=1, ddof=1, keepdims=True).filled(0.0)  # (C, 1, G)
    by_group = weights.reshape(len(weights), 1, -1)  # (C, 1, G or 1)
    summed = (by_group * centred.filled(0.0)).sum(axis=0)  # (N, G)
    return np.asarray(summed / ((by_group * deviations).sum(axis=0) + STD_FLOOR))
