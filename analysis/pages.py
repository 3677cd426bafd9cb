"""Markdown: tables and lists as lines, in which names and reasons are data."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.tables import Shown

__all__ = ["inline_text", "item_lines", "shown_lines", "table_lines"]

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""What may open a tag; ``p < 0.05`` opens none."""


def table_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return rows, heading -> text, as a Markdown table; no lines without rows."""
    return _grid(list(rows[0]), [list(row.values()) for row in rows]) if rows else []


def shown_lines(shown: "Shown") -> list[str]:
    """Return a table as Markdown, each row on one line."""
    return _grid(shown.headings, [[cell.text for cell in line] for line in shown.lines])


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def item_lines(lines: Iterable[str]) -> list[str]:
    """Return a Markdown list, each item on one line."""
    return [f"- {inline_text(line)}" for line in lines]


def inline_text(text: str) -> str:
    """Keep text on one line, and tags in it from being tags: reasons and names are data."""
    return _TAG.sub("&lt;", " ".join(text.split()))


def _cell(text: str) -> str:
    return inline_text(text).replace("|", "/")
