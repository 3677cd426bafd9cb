"""jsonschema-rs, set up the way scoring needs it.

It decides, with ``format`` asserted, from draft 04 to 2020-12, and never fetches anything.
Patterns run on an engine without backtracking; only look-around and back-references need
the other one, whose steps are bounded: a string that needs more does not match.
"""

from collections.abc import Callable, Mapping

import jsonschema_rs

from strictune.errors import SpecError

__all__ = ["MAX_BACKTRACKS", "Predicate", "compile_schema", "keyword_check", "refusal"]

MAX_BACKTRACKS = 10_000
"""Steps of one pattern on one string where the pattern needs backtracking at all."""

Predicate = Callable[[object], bool]

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
            f"schema {str(schema)[:80]!r}: {str(error)[:400]}. Expected a JSON Schema, draft 04 "
            "to 2020-12, without references to other documents."
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
    validator = jsonschema_rs.validator_for(
        schema,
        validate_formats=True,
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
        offline=True,
    )

    def is_valid(value: object) -> bool:
        try:
            return bool(validator.is_valid(value))
        except ValueError:
            # Some keywords, ``uniqueItems`` for one, give up on values deeper than 255 levels.
            return False

    return is_valid


def _accept(value: object) -> bool:
    return True
