"""Recovers the part of a document before its first error.

All complete elements are kept and open brackets are closed, so that broken and truncated answers
can be graded by how much of the schema they meet.
"""

import re

from trainables.tasks.strict_json.reading import mask_escapes, read_document

__all__ = ["salvage"]

_CLOSING = {"{": "}", "[": "]"}
_BRACKET = re.compile(r"[\[\]{}]")


def salvage(text: str, start: int, error_at: int) -> object:
    """Return the value of ``text[start:error_at]``, cut back to its last complete element.

    None if no array or object has begun. The text before the error must be valid JSON.
    """
    parts = mask_escapes(text[start:error_at]).split('"')
    cut = _last_boundary(parts)
    if cut is None:
        return None
    return read_document(text[start : start + cut] + _closers(parts), 0).document


def _last_boundary(parts: list[str]) -> int | None:
    """Return the end of the last complete element: before a comma, or after a bracket.

    Parts with even indices are outside strings; odd ones are the strings between them.
    """
    end = sum(map(len, parts)) + len(parts) - 1
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        end -= len(part)
        if index % 2 == 0:
            bracket = max(map(part.rfind, "[]{}")) + 1
            comma = part.rfind(",")
            if bracket > 0 or comma >= 0:
                return end + max(bracket, comma)
        end -= 1
    return None


def _closers(parts: list[str]) -> str:
    """Return the brackets that close all open ones."""
    stack: list[str] = []
    for bracket in _BRACKET.findall("".join(parts[::2])):
        if bracket in _CLOSING:
            stack.append(_CLOSING[bracket])
        elif stack:
            stack.pop()
    return "".join(reversed(stack))
