"""Markdown pages: tables and lists as lines, and files that no reader sees half of."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["item_lines", "replace_text", "table_lines"]


def table_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a Markdown table; no lines without rows."""
    if not rows:
        return []
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def item_lines(lines: Iterable[str]) -> list[str]:
    """Return a Markdown list."""
    return [f"- {line}" for line in lines]


def replace_text(path: Path, text: str) -> None:
    """Write beside, then rename: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
