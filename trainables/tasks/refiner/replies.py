"""Reads the scores in a judge's reply, or says why it holds none.

Servers that cannot force JSON answer with prose around it, with fences, or with an empty message
and everything in their reasoning. Thoughts and quotations are not verdicts: the judged text may
contain an object in the hope that it is quoted. So a reply holds no scores if it was cut off, if it
gives a key two values in whatever spelling, or if its only object stands within a sentence.
Choosing among several values would be a guess, which a policy could learn to exploit.

A number off the scale is missing too: 5 may be the maximum of another scale or half of it, and
clamping it would invent a reward.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

__all__ = ["READING", "ReplyError", "ReplyFault", "scores_in_body", "scores_in_text"]

READING = 2
"""Version of this parser, part of cache keys; raised when a reply may give other scores."""
ROUNDING = 0.01
"""How far outside [0, 1] a score may lie; it is then clamped."""
MAX_CHARS = 50_000
"""Longer replies, not counting thoughts, are not parsed."""

_CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_BROKEN_OFF = frozenset({"content_filter", "safety", "recitation", "abort", "cancelled", "error"})

_NAME = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|analysis)"
_THINK_TAG = re.compile(
    rf"(?P<opens><\|?(?:begin_of_|start_)?{_NAME}(?:\s[^<>]*)?\|?>|\[THINK\]|\u25c1think\u25b7"
    r"|<\|channel\|?>\s*(?:analysis|commentary|thought))"
    rf"|</{_NAME}\s*>|<\|end_(?:of_)?{_NAME}\|>|\[/THINK\]|\u25c1/think\u25b7"
    r"|<channel\|>|<\|channel\|>\s*final",
    re.IGNORECASE,
)
"""Think tags of chat templates, for servers that do not remove them."""
_BRACES = re.compile(r"\{[^{}]*\}")
_MARKUP = re.compile(r"<[^<>]*>|[\s*_`\[\]]")
_VERDICT, _PART = "\x00", "\x01"
"""Placeholders for objects in the text around them: with all keys, with some."""

ReplyFault = Literal["unreadable", "off_scale", "cut_off"]
"""``unreadable``: a reply without scores. ``off_scale``: a score outside [0, 1]. ``cut_off``: a
reply that reached its token limit."""


class ReplyError(Exception):
    """A reply that holds no scores."""

    def __init__(self, fault: ReplyFault, message: str) -> None:
        super().__init__(message)
        self.fault: ReplyFault = fault


def scores_in_body(body: object, keys: Sequence[str]) -> tuple[float, ...]:
    """Return the scores of a chat completion, from its content or else its reasoning.

    Raises:
        ReplyError: It is not a chat completion, was refused or cut off, or holds no scores.
    """
    choice = _first_choice(body)
    try:
        message = choice["message"]
        refusal = _text(message.get("refusal")) or _text(message.get("content"), "refusal")
        content, *thoughts = (
            _text(message.get(name)) for name in ("content", "reasoning_content", "reasoning")
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise _no_completion(body) from error
    if refusal.strip():
        raise ReplyError("unreadable", f"the judge refused: {_shown(refusal)}")
    _check_end(choice.get("finish_reason"))
    if content.strip():
        return scores_in_text(content, keys)
    thought = next((text for text in thoughts if text.strip()), "")
    if not thought:
        raise ReplyError("unreadable", "the message is empty")
    # A verdict ends a thought; an earlier object is a draft.
    if not thought.rstrip("`* \t\r\n").endswith("}"):
        raise ReplyError("unreadable", "the message is empty, its reasoning ends without a verdict")
    return scores_in_text(thought, keys)


def scores_in_text(text: str, keys: Sequence[str]) -> tuple[float, ...]:
    """Return the scores that a text gives for ``keys``, in their order.

    Raises:
        ReplyError: It was cut off, does not give each score once, or one is off the scale.
    """
    text = _without_thoughts(text.replace(_VERDICT, " ").replace(_PART, " "))
    if len(text) > MAX_CHARS:
        raise ReplyError("unreadable", f"it has more than {MAX_CHARS} characters")
    if len(keys) == 1 and (bare := _number(text)) is not None:
        return (_on_scale(bare),)
    values: dict[str, set[float | None]] = {key: set() for key in keys}
    parts, position = [], 0
    for document, start, end in _objects_in(text):
        given = [key for key in keys if key in document]
        for key in given:
            values[key].add(_number(document[key]))
        if given:
            parts += [text[position:start], _VERDICT if len(given) == len(keys) else _PART]
            position = end
    around = "".join([*parts, text[position:]])
    for key, number in _stated(around, keys):
        values[key].add(number)
    several = [key for key, found in values.items() if len(found) > 1]
    if several:
        raise ReplyError("unreadable", f"it gives {', '.join(several)} more than one value")
    numbers = [number for found in values.values() for number in found if number is not None]
    if _VERDICT not in around or len(numbers) < len(keys):
        raise ReplyError("unreadable", f"no JSON object with {', '.join(keys)}")
    if not any(_stands_alone(line) for line in around.splitlines() if _VERDICT in line):
        raise ReplyError("unreadable", "its JSON object is part of a sentence, like a quotation")
    return tuple(_on_scale(number) for number in numbers)


def _first_choice(body: object) -> Mapping[str, Any]:
    """Return the first choice of a chat completion; raise if it holds an error instead."""
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    for place in (body, choice):
        error = place.get("error") if isinstance(place, Mapping) else None
        if error:
            said = error.get("message") if isinstance(error, Mapping) else None
            raise ReplyError("unreadable", f"the server said: {_shown(said or error)}")
    if not isinstance(choice, Mapping):
        raise _no_completion(body)
    return choice


def _no_completion(body: object) -> ReplyError:
    return ReplyError("unreadable", f"the body is not a chat completion: {_shown(body)}")


def _shown(said: object) -> str:
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _check_end(finish_reason: object) -> None:
    reason = finish_reason.lower() if isinstance(finish_reason, str) else ""
    if reason in _CUT_OFF:
        raise ReplyError(
            "cut_off",
            f"the reply was cut off (finish_reason {reason}) before its end. Raise "
            "task.judge.max_tokens, which its reasoning counts against too",
        )
    if reason in _BROKEN_OFF:
        raise ReplyError("unreadable", f"the server stopped the reply (finish_reason {reason})")


def _without_thoughts(text: str) -> str:
    """Return the text outside think blocks; the prompt may have opened the first one."""
    said, position, is_open = [], 0, False
    for number, tag in enumerate(_THINK_TAG.finditer(text)):
        if tag["opens"] is not None:
            said += [] if is_open else [text[position : tag.start()]]
            is_open = True
            continue
        if not is_open and (number or text.lstrip().startswith(("{", "```"))):
            # A closing tag after a verdict is a quotation; the verdict is not a thought.
            raise ReplyError("unreadable", "its think tags do not pair")
        is_open, position = False, tag.end()
    if is_open:
        raise ReplyError(
            "cut_off",
            "the reply's think block is never closed, as if it was cut off. Raise "
            "task.judge.max_tokens, which its reasoning counts against too",
        )
    return "\n".join([*said, text[position:]]).strip()


def _objects_in(text: str) -> Iterator[tuple[Mapping[str, Any], int, int]]:
    """Yield the outermost JSON objects of a text with their bounds, in order.

    Raises:
        ReplyError: One is malformed, so that an object within it may be a quotation.
    """
    # Judges may break lines within strings, and integers may have 5,000 digits.
    decoder = json.JSONDecoder(parse_int=float, object_pairs_hook=_members, strict=False)
    position = text.find("{")
    while position >= 0:
        try:
            document, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            braces = _BRACES.match(text, position)
            if braces is None:
                raise ReplyError("unreadable", "a JSON object in it is broken") from error
            end = braces.end()
        else:
            yield document, position, end
        position = text.find("{", end)


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands twice")
    return members


def _stated(text: str, keys: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield values that a text gives to keys outside JSON, e.g. ``**Score:** 0.2``."""
    by_name = {key.lower(): key for key in keys}
    marks = r"[\s\"'*_`\\]*"
    names = "|".join(map(re.escape, keys))
    stated = rf"(?<!\w)((?ai:{names})){marks}[:=\uff1a]{marks}([-+]?\d*\.?\d+)"
    for found in re.finditer(stated, text):
        yield by_name[found[1].lower()], float(found[2])


def _stands_alone(line: str) -> bool:
    """Return whether the verdict begins or ends a line that is not a quotation."""
    bare = _MARKUP.sub("", line)
    return bare.startswith(_VERDICT) or (bare.endswith(_VERDICT) and bare[0] != ">")


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


def _text(content: object, kind: str = "text") -> str:
    """Return a text, or the joined parts of a list that have the given kind."""
    if isinstance(content, str):
        return content if kind == "text" else ""
    if not isinstance(content, list):
        return ""
    kinds = (None, kind, f"output_{kind}")
    return "".join(part.get(kind) or "" for part in content if part.get("type") in kinds)
