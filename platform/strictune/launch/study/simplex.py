"""Weights that add up to 1, from one number in [0, 1] fewer than there are weights.

Stick breaking (Devroye 1986, ch. XI.4): with k weights, the i-th breaks off a share
``1 - (1 - u_i)^(1 / (k - 1 - i))`` of what is left, so that even draws of u give even draws
from the simplex. A floor keeps every weight above ``min_weight``.
"""

from collections.abc import Mapping, Sequence

__all__ = ["sticks_of", "weights_of"]

DECIMALS = 4
"""Of the weights that a sweep file or a table shows."""


def weights_of(
    names: Sequence[str], sticks: Sequence[float], *, min_weight: float
) -> dict[str, float]:
    """Return weights that add up to 1, rounded to four decimals.

    Args:
        names: k names.
        sticks: k - 1 numbers in [0, 1].
        min_weight: Least weight; k of them are at most 1.
    """
    free = 1.0 - len(names) * min_weight
    left, rest = 1.0, 1.0
    weights = {}
    for index, (name, stick) in enumerate(zip(names[:-1], sticks, strict=True)):
        share = left * (1.0 - (1.0 - stick) ** (1.0 / (len(names) - 1 - index)))
        # Rounding up must not take what the last weights do not have.
        weights[name] = min(round(min_weight + free * share, DECIMALS), rest)
        left, rest = left - share, round(rest - weights[name], DECIMALS)
    weights[names[-1]] = rest
    return weights


def sticks_of(weights: Mapping[str, float], *, min_weight: float) -> list[float]:
    """Return the numbers from which ``weights_of`` makes these weights, whatever their sum.

    Raises:
        ValueError: A weight is below the floor.
    """
    total = sum(weights.values())
    free = 1.0 - len(weights) * min_weight
    shares = []
    for name, weight in weights.items():
        share = (weight / total - min_weight) / free if free else 0.0
        if share < -1e-6:
            raise ValueError(f"{name} = {weight / total:.4g} is below {min_weight:g}")
        shares.append(max(share, 0.0))
    sticks = []
    left = 1.0
    for index, share in enumerate(shares[:-1]):
        broken = min(share / left, 1.0) if left > 0 else 0.0
        sticks.append(1.0 - (1.0 - broken) ** (len(shares) - 1 - index))
        left -= share
    return sticks
