"""jsonschema-rs, set up the way scoring needs it: the one judge of schemas and documents.

It decides, with ``format`` asserted, from draft 04 to 2020-12, and never fetches anything.
Patterns mean what ECMA-262 says. They run on an engine without backtracking; only word
boundaries, look-around and back-references need the other one, whose steps are bounded: a
string that needs more does not match.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from strictune.errors import SpecError
from trainables.tasks.strict_json.ecma import translate, with_patterns

__all__ = ["MAX_BACKTRACKS", "Predicate", "compile_schema", "keyword_check", "refusal"]

MAX_BACKTRACKS = 10_000
"""Steps of one pattern on one string where the pattern needs backtracking at all."""

Predicate = Callable[[object], bool]

_EMAIL = jsonschema_rs.EmailOptions(allow_display_text=False)
"""RFC 5321's Mailbox, which JSON Schema names, has no name before an address."""
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS)
_SHOWN_CHARS = 200
_REFUSALS = (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError)


def compile_schema(schema: object) -> Predicate:
    """Return the verdict on documents.

    Raises:
        SpecError: It is no JSON Schema, or refers to something outside itself.
    """
    try:
        return _compile(schema)
    except _REFUSALS as error:
        raise SpecError(
            f"schema: {_reason(error, schema)}. Expected a JSON Schema, draft 04 to 2020-12, "
            "without references to other documents."
        ) from error


def refusal(schema: object) -> str | None:
    """Return why a schema cannot be compiled, in words for a table; None if it can."""
    try:
        _compile(schema)
    except _REFUSALS as error:
        kind = getattr(error, "kind", None)
        is_reference = isinstance(kind, jsonschema_rs.ValidationErrorKind.Referencing)
        return "reference that cannot be resolved" if is_reference else "schema that is not valid"
    return None


def keyword_check(context: Mapping[str, object], keywords: Mapping[str, object]) -> Predicate:
    """Return the verdict on some keywords alone, for grading.

    Where they cannot stand alone (a reference to somewhere else in the schema) nothing is
    held against a value: the verdict on the whole document does not depend on it.
    """
    try:
        return _compile({**context, **keywords})
    except _REFUSALS:
        return _accept


def _compile(schema: object) -> Predicate:
    if not isinstance(schema, (dict, bool)):
        raise TypeError("neither an object nor true or false")
    validator = _validator(schema)

    def is_valid(value: object) -> bool:
        try:
            return bool(validator.is_valid(value))
        except ValueError:
            # Some keywords, ``uniqueItems`` for one, give up on values deeper than 255 levels.
            return False

    return is_valid


def _validator(schema: dict[str, Any] | bool) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        with_patterns(schema, _written),
        validate_formats=True,
        pattern_options=_PATTERNS,
        email_options=_EMAIL,
        offline=True,
    )


def _written(pattern: str) -> str:
    """Write a pattern for the engines; one that is none becomes one that they refuse too.

    So it counts only where the schema uses it: below a keyword that nobody knows, it is data.
    """
    try:
        return translate(pattern)
    except ValueError:
        return "("


def _reason(error: Exception, schema: object) -> str:
    """Return what is wrong, and where in the schema, on one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply to be read"
    parts = getattr(error, "instance_path", ())
    place = "".join(f"/{json.dumps(str(part))[1:-1]}" for part in parts)
    text = " ".join(str(getattr(error, "message", error)).split())
    if isinstance(getattr(error, "kind", None), jsonschema_rs.ValidationErrorKind.Format):
        text = _bad_pattern(schema) or text
    shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
    return f"{shown} at {place}" if place else shown


def _bad_pattern(schema: Any) -> str | None:
    """Name the first pattern that the engines refuse as the schema has it."""
    draft = {name: schema[name] for name in ("$schema",) if name in schema}

    def refuse(pattern: str) -> str:
        translate(pattern)
        try:
            _validator({**draft, "pattern": pattern})
        except _REFUSALS:
            raise ValueError(f"{pattern!r} is not a regular expression of ECMA-262") from None
        return pattern

    try:
        with_patterns(schema, refuse)
    except ValueError as error:
        return str(error)
    return None


def _accept(value: object) -> bool:
    return True
