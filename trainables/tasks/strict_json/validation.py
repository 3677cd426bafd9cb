"""Configures jsonschema-rs for scoring; it alone decides on schemas and documents.

It supports drafts 04 to 2020-12, asserts ``format``, and never fetches anything. Patterns follow
ECMA-262. They run on an engine without backtracking; only word boundaries, look-around and
back-references need a backtracking engine, whose steps are limited: a string that needs more steps
does not match.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from strictune.errors import SpecError
from trainables.tasks.strict_json.ecma import translate, with_patterns

__all__ = ["MAX_BACKTRACKS", "Predicate", "compile_schema", "keyword_check", "refusal"]

MAX_BACKTRACKS = 10_000
"""Maximum steps of one pattern on one string, for patterns that need backtracking."""

Predicate = Callable[[object], bool]

_EMAIL = jsonschema_rs.EmailOptions(allow_display_text=False)
"""JSON Schema refers to RFC 5321's Mailbox, which allows no name before the address."""
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS)
_SHOWN_CHARS = 200
_REFUSALS = (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError)


def compile_schema(schema: object) -> Predicate:
    """Return a predicate that decides whether a document conforms.

    Raises:
        SpecError: It is not a JSON Schema, or refers to something outside itself.
    """
    try:
        return _compile(schema)
    except _REFUSALS as error:
        raise SpecError(
            f"schema: {_reason(error, schema)}. Expected a JSON Schema, draft 04 to 2020-12, "
            "without references to other documents."
        ) from error


def refusal(schema: object) -> str | None:
    """Return why a schema cannot be compiled, as text for a table; None if it can."""
    try:
        _compile(schema)
    except _REFUSALS as error:
        kind = getattr(error, "kind", None)
        is_reference = isinstance(kind, jsonschema_rs.ValidationErrorKind.Referencing)
        return "reference that cannot be resolved" if is_reference else "schema that is not valid"
    return None


def keyword_check(context: Mapping[str, object], keywords: Mapping[str, object]) -> Predicate:
    """Return a predicate of some keywords alone, for grading.

    Keywords that cannot stand alone (a reference to another part of the schema) accept every
    value: the verdict on the whole document does not depend on this.
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
            # Some keywords, e.g. ``uniqueItems``, fail on values deeper than 255 levels.
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
    """Translate a pattern for the engines; an invalid one becomes one that they refuse.

    So it is refused only where the schema uses it: below an unknown keyword it is data.
    """
    try:
        return translate(pattern)
    except ValueError:
        return "("


def _reason(error: Exception, schema: object) -> str:
    """Return the fault and its place in the schema, on one line."""
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
    """Return a message about the first pattern of the schema that the engines refuse."""
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
