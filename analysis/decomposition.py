"""Splits the change of a nested rate exactly over its parts, e.g. format and schema.

The rate of a criterion is a product along the ladder below it, e.g.

    P(strict) = P(parsed) * P(conformant | parsed) * P(strict | conformant)

and each factor belongs to a part, e.g. the first and the last to ``format`` (the fence, its
syntax, what lies outside it), the middle one to ``schema``. Where thinking was asked for the
last factor is two, P(clean | conformant) * P(strict | clean), and what tells strict from clean
there, a real think block, is a part of its own. The change of the product is shared out by
Shapley's rule: switch the factors from before to after one at a time, and average what each
switch changes over all orders. The shares add up to the change exactly, and no order is
favoured. For two factors this is

    d(c * f) = dc * (f0 + f1) / 2  +  df * (c0 + c1) / 2

A factor that one side never reached (nothing parsed, so nothing could conform) is unknown
there, not 0: it is taken as on the other side, so that the change counts for the criterion that
was reached first.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np

from analysis.families import Families, Floats, jackknife_se, leave_one_family_out

__all__ = ["Link", "Share", "decompose_gain", "gain_chain", "shapley_shares"]


class Link(NamedTuple):
    """One factor of the product."""

    criterion: str
    """Holds only where the criteria of the links before it hold."""
    part: str
    """The part that a change of this factor belongs to."""


class Share(NamedTuple):
    """A part's share of the gain."""

    part: str
    estimate: float
    standard_error: float
    """Jackknife over families, not below that of one prompt (see ``paired_difference``); NaN for a
    single family."""


_GAIN_CHAINS: Mapping[tuple[str, bool], tuple[Link, ...]] = {
    ("strict_json", False): (
        Link("parsed", "format"),
        Link("conformant", "schema"),
        Link("strict", "format"),
    ),
    ("strict_json", True): (
        Link("parsed", "format"),
        Link("conformant", "schema"),
        Link("clean", "format"),
        Link("strict", "thinking"),
    ),
}
"""By the task's kind, and whether a think block was asked for."""


def gain_chain(task: str, *, thinking: bool) -> tuple[Link, ...]:
    """Return the links whose product is a task's primary criterion; empty where none are known."""
    return _GAIN_CHAINS.get((task, thinking), ())


def decompose_gain(
    before: Mapping[str, Floats],
    after: Mapping[str, Floats],
    families: Families,
    *,
    chain: Sequence[Link],
) -> tuple[Share, ...]:
    """Split the change of the chain's last criterion over the chain's parts.

    Args:
        before: Each criterion's per-prompt means (P,).
        after: The same of the other side, same prompts in the same order.
        families: One label per prompt.
        chain: Nested criteria, the easiest first; links of one part are added up.

    Returns:
        One share per part, in the order of the chain; they sum to the gain.
    """
    criteria = [link.criterion for link in chain]
    old, new = (
        np.stack([side[criterion] for criterion in criteria]) for side in (before, after)
    )  # (K, P)
    for side, values in (("before", old), ("after", new)):
        if np.any(values[1:] > values[:-1] + 1e-12):
            raise ValueError(
                f"the criteria {', '.join(criteria)} are not nested in the table {side}"
            )
    shares = shapley_shares(old.mean(axis=-1), new.mean(axis=-1))  # (K,)
    without = shapley_shares(
        leave_one_family_out(old, families), leave_one_family_out(new, families)
    )  # (K, G)
    if without.shape[-1] < 2:
        without = np.full_like(without, np.nan)
    found = []
    for part in dict.fromkeys(link.part for link in chain):
        rows = [index for index, link in enumerate(chain) if link.part == part]
        estimate = shares[rows].sum(axis=0)
        error = np.maximum(jackknife_se(without[rows].sum(axis=0), estimate), 1 / len(families))
        found.append(Share(part, float(estimate), float(error)))
    return tuple(found)


def shapley_shares(before: Floats, after: Floats) -> Floats:
    """Split the change of the last of K nested rates over its K factors, all (K, ...).

    The shares sum to ``after[-1] - before[-1]``.
    """
    old, new = _factors(before), _factors(after)
    is_old_unknown, is_new_unknown = np.isnan(old), np.isnan(new)
    old = np.where(is_old_unknown, np.where(is_new_unknown, 1.0, new), old)
    new = np.where(is_new_unknown, old, new)
    shares = np.zeros_like(old)
    orders = list(permutations(range(len(old))))
    for order in orders:
        current = old.copy()
        for index in order:
            product = current.prod(axis=0)
            current[index] = new[index]
            shares[index] += current.prod(axis=0) - product
    return shares / len(orders)


def _factors(rates: Floats) -> Floats:
    """Turn nested rates into conditional ones; NaN where the condition never held."""
    given = np.concatenate((np.ones_like(rates[:1]), rates[:-1]))
    reached = given > 0
    quotient = rates / np.where(reached, given, 1.0)
    return np.asarray(np.where(reached, quotient, np.nan), dtype=np.float64)
