"""What pages show of one scored completion: marked spans of its text, and named scores.

One shape for all tasks, kept as JSON in the samples of an evaluation, so that the browser of a
report shows any task's without knowing it.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["NamedScore", "Span", "details_text"]


class Span(NamedTuple):
    """A part of a completion that says something about it."""

    start: int
    """In characters."""
    end: int
    label: str
    """Short: it stands behind the text."""
    is_fault: bool


class NamedScore(NamedTuple):
    """A score whose name the data choose."""

    name: str
    value: float | None
    """In [0, 1]; None is missing."""
    is_negative: bool
    """What it names is a fault, so that 0 is best."""


def details_text(spans: Iterable[Span], scores: Iterable[NamedScore]) -> str:
    """Return ``{"spans": [...], "scores": [...]}``, the spans in the order of the text."""
    document = {
        "spans": [span._asdict() for span in sorted(spans)],
        "scores": [score._asdict() for score in scores],
    }
    return json.dumps(document, ensure_ascii=False)
