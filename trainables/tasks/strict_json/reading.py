"""Reads one RFC 8259 document inside a longer text, within limits.

The document is parsed in place, so that a fence whose strings contain back-ticks still ends where
the document ends. Errors are reported by kind and position; rewards turn them into credit. This
module knows neither fences nor schemas.
"""

import json
import math
import re
from typing import NamedTuple

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "Reading",
    "accepted_by_json_loads",
    "mask_escapes",
    "num_open_brackets",
    "read_document",
    "skip_whitespace",
]

MAX_DEPTH = 500
"""Maximum nesting of arrays and objects."""
MAX_DIGITS = 4_300
"""Maximum digits of an integer: what CPython converts without quadratic cost."""

_WHITESPACE = re.compile(r"[ \t\n\r]*+")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[\[\]{}]', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: one character
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Reading(NamedTuple):
    """The result of reading a document."""

    document: object
    """The value; None if ``error`` is set."""
    end: int
    """The end of the document, or the position of the first error."""
    error: str
    """A stable code such as ``parse_trailing_comma`` or ``over_limits``; empty if none."""


class _OverLimitsError(ValueError):
    """A literal that exceeds the limits; its text is the only argument."""


def _bounded_int(literal: str) -> int:
    if len(literal) > MAX_DIGITS and len(literal.lstrip("-")) > MAX_DIGITS:
        raise _OverLimitsError(literal)
    return int(literal)


def _finite_float(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise _OverLimitsError(literal)
    return number


def _refuse_constant(literal: str) -> float:
    raise _OverLimitsError(literal)


_DECODER = json.JSONDecoder(
    parse_int=_bounded_int, parse_float=_finite_float, parse_constant=_refuse_constant
)


def skip_whitespace(text: str, start: int) -> int:
    """Return the first position from ``start`` on that is not JSON white space."""
    match = _WHITESPACE.match(text, start)
    assert match is not None, "the pattern matches the empty string"
    return match.end()


def read_document(text: str, start: int) -> Reading:
    """Read the JSON value that begins at ``start``; the text after it is ignored.

    Of equal keys the last counts. Values that are nested too deeply, have too many digits, are
    not finite or hold lone surrogates are ``over_limits``: ``json.loads`` accepts most of them,
    but RFC 8259 or the validator does not.
    """
    if text.count("[", start) + text.count("{", start) > MAX_DEPTH:
        too_deep = _first_too_deep(text, start)
        if too_deep is not None:
            return Reading(None, too_deep, "over_limits")
    try:
        document, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return Reading(None, error.pos, _name_error(text, error.pos, error.msg))
    except _OverLimitsError as error:
        return Reading(None, max(text.find(error.args[0], start), start), "over_limits")
    except (RecursionError, ValueError):
        # The caller's stack is already deep, or the interpreter has a lower digit limit.
        return Reading(None, start, "over_limits")
    lone = _lone_surrogate(text, start, end)
    if lone is not None:
        return Reading(None, lone, "over_limits")
    return Reading(document, end, "")


def accepted_by_json_loads(text: str) -> bool:
    """Whether ``json.loads`` accepts the text, including NaN, infinities and lone surrogates."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def num_open_brackets(text: str, start: int, end: int) -> int:
    """Count the brackets that ``text[start:end]`` opens beyond those it closes."""
    bare = "".join(mask_escapes(text[start:end]).split('"')[::2])
    opened = bare.count("[") + bare.count("{")
    return max(opened - bare.count("]") - bare.count("}"), 0)


def mask_escapes(text: str) -> str:
    """Replace escaped quotes by other characters, so that each remaining quote bounds a string."""
    if "\\" not in text:
        return text
    return text.replace("\\\\", "__").replace('\\"', "__")


def _first_too_deep(text: str, start: int) -> int | None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text, start):
        token = match.group()
        if token in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return match.start()
        elif token in "]}":
            depth -= 1
            if depth <= 0:
                return None
    return None


def _lone_surrogate(text: str, start: int, end: int) -> int | None:
    """Return the position of the first half of a surrogate pair, raw or escaped."""
    if not text.isascii():
        match = _SURROGATE.search(text, start, end)
        if match is not None:
            return match.start()
    if text.find("\\u", start, end) >= 0:
        for match in _ESCAPE.finditer(text, start, end):
            if match["lone"] is not None:
                return match.start()
    return None


def _name_error(text: str, position: int, message: str) -> str:
    """Return the error code of a decoder error, from its message and the character there."""
    # The C scanner's messages are stable; 3.13 added the one on trailing commas.
    if message.startswith("Expecting value"):
        return _name_missing_value(text, position)
    if message.startswith("Expecting property name"):
        return _name_missing_key(text, position)
    if message.startswith("Expecting ','"):
        return _name_missing_comma(text, position)
    for prefix, name in _BY_MESSAGE.items():
        if message.startswith(prefix):
            return name
    return "parse_other"


_BY_MESSAGE = {
    "Expecting ':'": "parse_missing_colon",
    "Illegal trailing comma": "parse_trailing_comma",
    "Unterminated string": "parse_unterminated_string",
    "Invalid control character": "parse_control_character",
    "Invalid \\": "parse_bad_escape",
}


def _name_missing_value(text: str, position: int) -> str:
    character = text[position : position + 1]
    if character and character in "}]":
        return "parse_trailing_comma" if _follows_comma(text, position) else "parse_missing_value"
    return _name_by_character(text, position, word="parse_unquoted_value")


def _name_missing_key(text: str, position: int) -> str:
    if text[position : position + 1] == "}" and _follows_comma(text, position):
        return "parse_trailing_comma"
    return _name_by_character(text, position, word="parse_unquoted_key")


def _name_missing_comma(text: str, position: int) -> str:
    character = text[position : position + 1]
    if character and character in "}]":
        return "parse_mismatched_bracket"
    previous = text[position - 1 : position]
    if previous.isdigit() and (character in (".", "e", "E") or character.isdigit()):
        return "parse_bad_number"
    if character == "'":
        return "parse_missing_comma"
    return _name_by_character(text, position, word="parse_missing_comma")


def _name_by_character(text: str, position: int, *, word: str) -> str:
    """Return the error code for the character in the wrong place, or ``word`` for any other."""
    if text.startswith("```", position) or position >= len(text):
        return "parse_unexpected_end"
    if text.startswith(("...", "\u2026"), position):
        return "parse_ellipsis"
    return _BY_CHARACTER.get(text[position], word)


_BY_CHARACTER = {
    "'": "parse_single_quotes",
    "\u2018": "parse_single_quotes",
    "\u201c": "parse_curly_quotes",
    "\u201d": "parse_curly_quotes",
    "/": "parse_comment",
    "#": "parse_comment",
    "+": "parse_bad_number",
    "-": "parse_bad_number",
    ".": "parse_bad_number",
    ",": "parse_extra_comma",
}


def _follows_comma(text: str, position: int) -> bool:
    """Whether the last character before ``position`` that is not white space is a comma."""
    while position > 0 and text[position - 1] in " \t\n\r":
        position -= 1
    return text[position - 1 : position] == ","
