"""A judge's reply to scores, or the reason why it holds none.

Servers that cannot force JSON answer with prose around it, fences, or an empty message and
everything in their reasoning. Of several JSON objects the last one that has every key counts:
a model that thinks aloud corrects itself. What is left after that is missing. A number off
the scale is missing too: 5 may be full marks of another scale or half of them, and clamping
it would invent a reward.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

__all__ = ["ReplyError", "scores_in_body", "scores_in_text"]

ROUNDING = 0.01
"""A score may lie outside [0, 1] by this much, and is clamped."""
MAX_CHARS = 8_000
"""The end of a reply that is searched."""

_THINK = re.compile(r"<think>.*?</think>", re.DOTALL)
_DECODER = json.JSONDecoder()

ReplyFault = Literal["unreadable", "off_scale"]


class ReplyError(Exception):
    """A reply holds no scores."""

    def __init__(self, fault: ReplyFault, message: str) -> None:
        super().__init__(message)
        self.fault: ReplyFault = fault


def scores_in_body(body: object, keys: Sequence[str]) -> tuple[float, ...]:
    """Return the scores of a chat completion, from its content or else its reasoning.

    Raises:
        ReplyError: It is no chat completion, or holds no scores.
    """
    try:
        message = body["choices"][0]["message"]  # type: ignore[index]
        texts = [_text(message.get(name)) for name in ("content", "reasoning_content", "reasoning")]
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ReplyError("unreadable", "the body is no chat completion") from error
    given = [text for text in texts if text.strip()]
    if not given:
        raise ReplyError("unreadable", "the message is empty")
    return scores_in_text(given[0], keys)


def scores_in_text(text: str, keys: Sequence[str]) -> tuple[float, ...]:
    """Return the scores that a text gives for ``keys``, in their order.

    Raises:
        ReplyError: It does not give all of them, or one is off the scale.
    """
    text = _THINK.sub(" ", text[-MAX_CHARS:]).strip()
    found: tuple[float, ...] | None = None
    for document in _objects_in(text):
        numbers = [_number(document.get(key)) for key in keys]
        if all(number is not None for number in numbers):
            found = tuple(number for number in numbers if number is not None)
    if found is None and len(keys) == 1:
        bare = _number(text)
        found = None if bare is None else (bare,)
    if found is None:
        raise ReplyError("unreadable", f"no JSON object with {', '.join(keys)}")
    return tuple(_on_scale(value) for value in found)


def _objects_in(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the outermost JSON objects of a text, in order."""
    position = text.find("{")
    while position >= 0:
        try:
            document, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if isinstance(document, dict):
                yield document
        position = text.find("{", end)


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            return None
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def _on_scale(value: float) -> float:
    if not -ROUNDING <= value <= 1 + ROUNDING:
        raise ReplyError("off_scale", f"a score of {value:g}, expected 0 to 1")
    return min(1.0, max(0.0, value))


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content if isinstance(content, str) else ""
