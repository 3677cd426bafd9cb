"""What figures are drawn from: rows of plain values, column -> value."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import altair as alt

__all__ = ["Rows", "data", "dodged", "in_order", "num_columns"]

Rows = Sequence[Mapping[str, Any]]
"""A table. Rates and bounds are shares in [0, 1]; NaN is not measured."""


def data(rows: Rows) -> Any:
    """Return rows as a figure carries them; NaN becomes null, which no mark is drawn for."""
    return alt.Data(values=[{name: _plain(value) for name, value in row.items()} for row in rows])


def in_order(rows: Rows, column: str) -> list[Any]:
    """Return a column's values in the order in which they first appear."""
    return list(dict.fromkeys(row[column] for row in rows))


def num_columns(rows: Rows, column: str) -> int:
    """Return how many panels stand in a row, a panel for each value of a column."""
    count = len(in_order(rows, column))
    return 2 if count == 4 else min(count, 3)


def dodged(rows: Rows, x: str, series: str) -> list[dict[str, Any]]:
    """Move the series of a numeric axis apart, so that their error bars do not overlap.

    Neighbours are 3% of the axis apart, which starts at 0, but the whole bundle takes no more
    than two fifths of the smallest gap between two values.
    """
    names = in_order(rows, series)
    values = sorted({float(row[x]) for row in rows})
    gap = min((after - before for before, after in pairwise(values)), default=values[-1])
    step = min(0.03 * values[-1], 0.4 * gap / len(names))
    shift = {name: step * (index - (len(names) - 1) / 2) for index, name in enumerate(names)}
    return [{**row, x: float(row[x]) + shift[row[series]]} for row in rows]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
