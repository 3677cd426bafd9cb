r"""Translates ECMA-262 patterns for the validator's two engines.

JSON Schema uses ECMA-262's regular expressions. The engines read ``.``, ``\b`` and much of
character classes differently, and more so if a pattern looks around. So each such piece is written
out as the characters that ECMA-262 gives it in Unicode mode; the result is still an ECMA-262
pattern, because some meta-schemas require that. Syntax that ECMA-262 leaves undefined and both
engines know, such as ``(?i)``, is kept; syntax that only one knows is refused.

One difference remains: a back-reference to a group that did not participate fails.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["translate", "with_patterns"]

_DIGITS = r"0-9", r"\u{0}-/:-\u{10FFFF}"
_WORDS = r"0-9A-Z_a-z", r"\u{0}-/:-@\u{5B}-\u{5E}`\u{7B}-\u{10FFFF}"
_SPACES = (
    r"\u{9}-\u{D}\u{20}\u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}"
    r"\u{FEFF}",
    r"\u{0}-\u{8}\u{E}-\u{1F}!-\u{9F}\u{A1}-\u{167F}\u{1681}-\u{1FFF}\u{200B}-\u{2027}"
    r"\u{202A}-\u{202E}\u{2030}-\u{205E}\u{2060}-\u{2FFF}\u{3001}-\u{FEFE}\u{FF00}-\u{10FFFF}",
)
r"""The characters of ``\s``, and all others; nested classes would be read as text."""
_SETS = dict(zip("dDwWsS", (*_DIGITS, *_WORDS, *_SPACES), strict=True))
_WORD = f"[{_SETS['w']}]"
_BOUNDARY = f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))"
_NO_BOUNDARY = f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))"
_NO_LINE_END = r"[^\u{A}\u{D}\u{2028}\u{2029}]"
_ANY, _NONE = r"[\u{0}-\u{10FFFF}]", r"[^\u{0}-\u{10FFFF}]"
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_LOW, _HIGH, _LAST = 0xD800, 0xDFFF, 0x10FFFF
"""Surrogates and the last code point; no document holds half of a surrogate pair."""

_CODE = re.compile(
    r"u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u\{(?P<point>[0-9a-fA-F]+)\}|(?:u(?P<four>[0-9a-fA-F]{4})|x(?P<two>[0-9a-fA-F]{2}))"
    r"|c(?P<letter>[A-Za-z])|(?P<nul>0)(?![0-9])"
)
_PROPERTY = re.compile(r"[pP](?:\{[^{}]*\}|[A-Za-z])")
_OPENING = re.compile(r"\((?:\?(?:[:=!]|<[=!]|P?<(?P<name>[^<>]*)>|(?P<flags>[imsuxU-]+)[:)]))?")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??")
_REFERENCE = re.compile(r"(?P<number>[1-9][0-9]*)|k<(?P<name>[^<>]+)>")
_POINTER = re.compile(r"(?<=/patternProperties/)[^/]+")
_ENGINES_OWN = "Az"
"""Escapes that both engines know as anchors, and ECMA-262 does not define."""

_MAPS = frozenset(
    {
        "properties",
        "patternProperties",
        "$defs",
        "definitions",
        "dependentSchemas",
        "dependencies",
    }
)
_DATA = frozenset({"const", "enum", "default", "examples"})


def with_patterns(schema: Any, write: Callable[[str], str]) -> Any:
    """Return a schema with each pattern replaced by ``write(pattern)``."""
    if isinstance(schema, list):
        return [with_patterns(part, write) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {keyword: _value(keyword, value, write) for keyword, value in schema.items()}


def translate(pattern: str) -> str:
    """Return an ECMA-262 pattern in the syntax of the engines.

    Raises:
        ValueError: It is not a valid pattern; the engines may find further faults.
    """
    try:
        return _Translator(pattern).run()
    except ValueError as error:
        message = f"{pattern!r} is not a regular expression of ECMA-262: {error}"
        raise ValueError(message) from None


def _value(keyword: str, value: Any, write: Callable[[str], str]) -> Any:
    if keyword in _DATA:
        return value
    if keyword == "pattern" and isinstance(value, str):
        return write(value)
    if keyword == "$ref" and isinstance(value, str):
        return _POINTER.sub(lambda found: _token(found[0], write), value)
    if keyword not in _MAPS or not isinstance(value, dict):
        return with_patterns(value, write)
    parts: dict[str, Any] = {}
    for name, part in value.items():
        key = write(name) if keyword == "patternProperties" else name
        while key in parts:  # ``\d`` and ``[0-9]`` are the same pattern with two schemas.
            key = f"(?:{key})"
        parts[key] = with_patterns(part, write)
    return parts


def _token(token: str, write: Callable[[str], str]) -> str:
    pattern = unquote(token).replace("~1", "/").replace("~0", "~")
    return quote(write(pattern).replace("~", "~0").replace("/", "~1"), safe="~")


class _Translator:
    """Translates one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._groups: list[str] = []
        self._dot = _NO_LINE_END
        self._out: list[str | Callable[[], str]] = []

    def run(self) -> str:
        may_repeat = True
        while self._at < len(self._pattern):
            quantifier = self._take(_QUANTIFIER)
            if quantifier and not may_repeat:
                raise ValueError(f"{quantifier[0]} follows another quantifier")
            self._out.append(quantifier[0] if quantifier else self._piece())
            may_repeat = not quantifier
        return "".join(part if isinstance(part, str) else part() for part in self._out)

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        found = expression.match(self._pattern, self._at)
        if found:
            self._at = found.end()
        return found

    def _next(self) -> str:
        if self._at == len(self._pattern):
            raise ValueError("it ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _piece(self) -> str | Callable[[], str]:
        opening = self._take(_OPENING)
        if opening:
            return self._opened(opening)
        sign = self._next()
        if sign == "\\":
            return self._escape()
        if sign == "[":
            return self._class()
        if sign == "{":
            raise ValueError("{ is not a quantifier here; write \\{ for the character")
        return {".": self._dot, "]": r"\]", "}": r"\}"}.get(sign, sign)

    def _opened(self, opening: re.Match[str]) -> str:
        text, name = opening[0], opening["name"]
        if text == "(" and self._pattern.startswith("?", self._at):
            raise ValueError(f"unknown group {self._pattern[self._at - 1 : self._at + 3]}")
        if opening["flags"] and "s" in opening["flags"].partition("-")[0]:
            self._dot = "."
        if name is not None:
            if name in self._groups or not name.replace("$", "_").isidentifier():
                raise ValueError(f"group name {name!r} is used twice or not a name")
            text = "("
        if text == "(":
            self._groups.append(name or "")
        return text

    def _escape(self) -> str | Callable[[], str]:
        reference = self._take(_REFERENCE)
        if reference:
            return lambda: self._referred(reference)
        if self._pattern[self._at : self._at + 1] in ("b", "B"):
            return _BOUNDARY if self._next() == "b" else _NO_BOUNDARY
        if self._pattern[self._at : self._at + 1] in tuple(_ENGINES_OWN):
            return "\\" + self._next()
        atom = self._atom()
        return f"[{atom}]" if isinstance(atom, str) else _literal(atom)

    def _referred(self, reference: re.Match[str]) -> str:
        name = reference["name"]
        number = int(reference["number"]) if name is None else self._number(name)
        if number > len(self._groups):
            raise ValueError(f"there is no group {number}")
        return f"(?:\\{number})"

    def _number(self, name: str) -> int:
        if name not in self._groups:
            raise ValueError(f"there is no group {name}")
        return self._groups.index(name) + 1

    def _class(self) -> str:
        """Translate the class whose opening bracket was just read."""
        negated = self._pattern.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        while not self._pattern.startswith("]", self._at):
            first = self._class_atom()
            rest = self._pattern[self._at : self._at + 2]
            if not rest.startswith("-") or rest == "-]":
                parts.append(_range(first, first) if isinstance(first, int) else first)
                continue
            self._at += 1
            last = self._class_atom()
            if not (isinstance(first, int) and isinstance(last, int) and first <= last):
                raise ValueError("a range in a class must end at a later character")
            parts.append(_range(first, last))
        self._at += 1
        body = "".join(parts)
        if not body:
            return _ANY if negated else _NONE
        return f"[{'^' * negated}{body}]"

    def _class_atom(self) -> int | str:
        sign = self._next()
        if sign != "\\":
            return ord(sign)
        if self._pattern.startswith("b", self._at):
            self._at += 1
            return 8
        return self._atom()

    def _atom(self) -> int | str:
        r"""Read what follows a backslash: a code point, or the inside of a class such as ``\d``."""
        code = self._take(_CODE)
        if code:
            return _code_point(code)
        named = self._take(_PROPERTY)
        if named:
            return "\\" + named[0]
        letter = self._next()
        if letter in _SETS:
            return _SETS[letter]
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter.isascii() and letter.isalnum():
            raise ValueError(f"unknown escape \\{letter}")
        return ord(letter)


def _code_point(code: re.Match[str]) -> int:
    if code["nul"]:
        return 0
    if code["letter"]:
        return ord(code["letter"]) % 32
    if code["high"]:
        return 0x10000 + ((int(code["high"], 16) & 0x3FF) << 10) + (int(code["low"], 16) & 0x3FF)
    point = int(code["point"] or code["four"] or code["two"], 16)
    if point > _LAST:
        raise ValueError(f"there is no character {code[0]}")
    return point


def _literal(point: int) -> str:
    if _LOW <= point <= _HIGH:
        return _NONE
    sign = chr(point)
    return sign if sign.isalnum() or sign in "/_" else f"\\u{{{point:X}}}"


def _range(first: int, last: int) -> str:
    """Return a range of a class, without surrogates."""
    if _LOW <= first <= _HIGH:
        first = _HIGH + 1
    if _LOW <= last <= _HIGH:
        last = _LOW - 1
    if first > last:
        return ""
    return "-".join(_literal(end) for end in dict.fromkeys((first, last)))
