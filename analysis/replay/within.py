"""Order within groups: how completions of one prompt rank, and Spearman's correlation of that.

Does the reward order the answers to one prompt alike? ``scale_rewards`` changes nothing
here. What groups weigh against each other is in ``analysis.replay.pooled``. Ties get average
ranks; shapes as in ``analysis.replay.advantages``.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.advantages import Scores

__all__ = ["Signs", "group_rank_correlation", "rank_signs"]

Signs = NDArray[np.int16]


def rank_signs(scores: Scores) -> Signs:
    """Count, for each completion, the others of its group below it minus those above: (W, N, G).

    This is twice its average rank minus N + 1, so it ranks within the group and sums to 0.
    """
    values, tie = scores
    signs = np.zeros(values.shape, dtype=np.int16)
    for first, second in combinations(range(values.shape[1]), 2):
        lead = values[:, first] - values[:, second]  # (W, G)
        above = (lead > tie).astype(np.int8) - (lead < -tie).astype(np.int8)
        signs[:, first] += above
        signs[:, second] -= above
    return signs


def group_rank_correlation(signs: Signs, reference: Signs) -> Floats:
    """Return each group's Spearman correlation: (W, N, G), (1, N, G) -> (W, G).

    NaN where one of the two ranks all completions equal.
    """
    ours, theirs = signs.astype(np.float64), reference.astype(np.float64)
    spread = np.square(ours).sum(axis=1) * np.square(theirs).sum(axis=1)
    with np.errstate(invalid="ignore"):
        found: Floats = (ours * theirs).sum(axis=1) / np.sqrt(spread)
    return found
