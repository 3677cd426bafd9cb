"""Tables as data: a name, declared columns and rows; how a value reads is its column's format.

Renderers (here for Markdown, ``report.writing`` for HTML, ``strictune.cli.terminal`` for the
terminal) lay out the texts of cells and format nothing themselves.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from analysis.measured import Interval
from analysis.verdicts import Effect

__all__ = [
    "NOT_MEASURED",
    "Cell",
    "Column",
    "Row",
    "Shown",
    "Table",
    "bounds",
    "effect_in",
    "inline_text",
    "item_lines",
    "number",
    "percent",
    "pivot",
    "plain",
    "rate_cells",
    "rate_column",
    "rate_in",
    "rate_row",
    "rate_text",
    "shown",
    "shown_lines",
    "shown_texts",
    "spread",
    "table_lines",
    "texts",
]

Row = dict[str, Any]
"""Column -> value; NaN and None are not measured."""

NOT_MEASURED = "-"

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""What may open a tag; ``p < 0.05`` opens none."""

_T = TypeVar("_T")


class Column(NamedTuple):
    """One column: where its values come from, and how they read."""

    heading: str
    value: str | Callable[[Any], Any]
    """Key of a row, or a function of it; None is not measured."""
    format: Callable[[Any], str] = str
    """Says the unit too, e.g. ``41.2%`` or ``+3.1 pp``."""
    filters: Callable[[Any], Mapping[str, str] | None] | None = None
    """By what the report shows completions where this cell is followed; None leads nowhere."""

    def text(self, row: Any) -> str:
        """Return what the cell of a row shows."""
        found = row.get(self.value) if isinstance(self.value, str) else self.value(row)
        if found is None or (isinstance(found, float) and math.isnan(found)):
            return NOT_MEASURED
        return self.format(found)


class Table(NamedTuple):
    """One kind of table."""

    name: str
    title: str
    columns: Sequence[Column]
    filters: Callable[[Any], Mapping[str, str] | None] | None = None
    """Those of columns without their own."""


class Cell(NamedTuple):
    """A cell as renderers get it."""

    text: str
    filters: Mapping[str, str] | None = None
    """See ``Column.filters``."""


class Shown(NamedTuple):
    """A table that renderers can lay out."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[Cell]]


def texts(table: Table, rows: Iterable[Any]) -> list[dict[str, str]]:
    """Return rows as heading -> text."""
    return [{column.heading: column.text(row) for column in table.columns} for row in rows]


def shown(table: Table, rows: Iterable[Any]) -> Shown:
    """Return a table with the cells of rows."""
    filters = [column.filters or table.filters or (lambda row: None) for column in table.columns]
    lines = [
        [
            Cell(column.text(row), following(row))
            for column, following in zip(table.columns, filters, strict=True)
        ]
        for row in rows
    ]
    return Shown(table.title, [column.heading for column in table.columns], lines)


def shown_texts(rows: Sequence[Mapping[str, str]]) -> Shown:
    """Return rows of texts, heading -> text, as a table without a title."""
    lines = [[Cell(text) for text in row.values()] for row in rows]
    return Shown("", list(rows[0]) if rows else [], lines)


def pivot(rows: Iterable[Row], index: Sequence[str], across: str) -> tuple[list[Row], list[str]]:
    """Put rows that agree on ``index`` into one: its ``cells`` hold them by ``across``.

    Returns:
        The new rows and the values of ``across``, both in the order of first appearance.
    """
    found: dict[tuple[Any, ...], Row] = {}
    names: dict[str, None] = {}
    for row in rows:
        key = tuple(row[name] for name in index)
        line = found.setdefault(key, {**row, "cells": {}})
        line["cells"][row[across]] = row
        names[row[across]] = None
    return list(found.values()), list(names)


def spread(items: Sequence[_T], limit: int) -> list[_T]:
    """Return all items, or ``limit`` of them at even distances."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def rate_row(rate: Interval) -> Row:
    """Return a rate as the columns ``rate``, ``low`` and ``high`` of a row."""
    return {"rate": rate.estimate, "low": rate.low, "high": rate.high}


def rate_in(row: Mapping[str, Any] | None) -> Interval | None:
    """Return the rate of a ``rate_row``."""
    return None if row is None else Interval(row["rate"], row["low"], row["high"])


def rate_column(name: str) -> Column:
    """Return the column of a rate; ``rate_cells`` puts it into rows."""

    def value(row: Row) -> Interval | None:
        rate = row.get(name, math.nan)
        return None if math.isnan(rate) else Interval(rate, row[f"{name}_low"], row[f"{name}_high"])

    return Column(name.replace("_", " "), value, rate_text)


def rate_cells(name: str, rate: Interval) -> Row:
    """Return a rate as the columns ``<name>``, ``<name>_low`` and ``<name>_high`` of a row."""
    return {name: rate.estimate, f"{name}_low": rate.low, f"{name}_high": rate.high}


def effect_in(row: Mapping[str, Any] | None, prefix: str = "") -> Effect | None:
    """Return the difference that a row holds, in percentage points; None where it has none."""
    if row is None or f"{prefix}delta_pp" not in row:
        return None
    return Effect(
        estimate_pp=row[f"{prefix}delta_pp"],
        low_pp=row[f"{prefix}low_pp"],
        high_pp=row[f"{prefix}high_pp"],
    )


def bounds(found: Effect, prefix: str = "") -> Row:
    """Return a difference as the columns of a row."""
    return {
        f"{prefix}delta_pp": found.estimate_pp,
        f"{prefix}low_pp": found.low_pp,
        f"{prefix}high_pp": found.high_pp,
    }


def rate_text(rate: Interval) -> str:
    """Return e.g. ``41.2% [37.0, 45.6]``."""
    if math.isnan(rate.low):
        return f"{percent(rate.estimate)} (no interval)"
    return f"{percent(rate.estimate)} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def percent(share: float, digits: int = 1) -> str:
    """Return e.g. ``41.2%``."""
    return f"{100 * share:.{digits}f}%"


def number(value: float) -> str:
    """Return e.g. ``12,345``."""
    return f"{value:,.0f}"


def plain(value: Any) -> Any:
    """Turn dataclasses, models and named tuples into plain objects, and NaN into None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return rows, heading -> text, as a Markdown table; no lines without rows."""
    return _grid(list(rows[0]), [list(row.values()) for row in rows]) if rows else []


def shown_lines(shown: Shown) -> list[str]:
    """Return a table as Markdown, each row on one line."""
    return _grid(shown.headings, [[cell.text for cell in line] for line in shown.lines])


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    cells = ([inline_text(text).replace("|", "/") for text in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in cells]


def item_lines(lines: Iterable[str]) -> list[str]:
    """Return a Markdown list, each item on one line."""
    return [f"- {inline_text(line)}" for line in lines]


def inline_text(text: str) -> str:
    """Keep text on one line, and tags in it from being tags: reasons and names are data."""
    return _TAG.sub("&lt;", " ".join(text.split()))
