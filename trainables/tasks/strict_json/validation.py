"""JSON Schemas compiled once: the verdict, and the first thing that a document violates.

jsonschema-rs decides, with ``format`` asserted, from draft 04 to 2020-12, and never
fetches anything. Patterns run on an engine without backtracking; only look-around and
back-references need the other one, whose steps are bounded: a string that needs more
does not match. How much a wrong document is worth is the business of ``credit``.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast

import jsonschema_rs

from strictune.errors import SpecError
from trainables.tasks.strict_json.locations import Plan, build_plan

__all__ = [
    "MAX_BACKTRACKS",
    "CompiledSchema",
    "Errors",
    "ValidationError",
    "Violation",
    "first_violation",
]

MAX_BACKTRACKS = 10_000
"""Steps of one pattern on one string where the pattern needs backtracking at all."""


class ErrorKind(Protocol):
    """The part of jsonschema-rs's error kinds that scoring reads."""

    name: str
    """The violated keyword."""
    property: str
    """Of ``required``: the missing member."""
    limit: int
    """Of counts: the violated bound."""
    context: Sequence[Sequence["ValidationError"]]
    """Of combinators: the errors of each branch."""


class ValidationError(Protocol):
    """The part of jsonschema-rs's errors that scoring reads."""

    kind: ErrorKind
    instance_path: Sequence[str | int]
    evaluation_path: Sequence[str | int]


Errors = Sequence[ValidationError]


class Violation(NamedTuple):
    """The violation that tables show for a document."""

    error_class: str
    """A stable code such as ``missing_key``."""
    pointer: str
    """The JSON pointer of the value at fault; of a missing member, where it should stand."""


class CompiledSchema:
    """One schema, ready to judge documents. Not picklable: compile it where it is used."""

    def __init__(self, schema: str) -> None:
        """Compile ``schema``, which is JSON text.

        Raises:
            SpecError: It is no JSON Schema, or refers to something outside itself.
        """
        try:
            self._schema = json.loads(schema)
            self._validator = jsonschema_rs.validator_for(self._schema, **_options())
        except (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError) as error:
            raise SpecError(
                f"schema {schema[:80]!r}: {str(error)[:400]}. Expected the text of a JSON Schema, "
                "draft 04 to 2020-12, without references to other documents."
            ) from error

    @property
    def wants_array(self) -> bool:
        """Whether the document itself must be an array."""
        return isinstance(self._schema, dict) and self._schema.get("type") == "array"

    @cached_property
    def plan(self) -> Plan:
        """The locations that give credit; built when the first wrong document arrives."""
        return build_plan(self._schema)

    def is_valid(self, document: object) -> bool:
        """Whether the document conforms."""
        return bool(self._validator.is_valid(document))

    def errors(self, document: object) -> Errors:
        """List every violation, in the validator's order.

        Empty for a document deeper than the 255 levels that the validator can describe,
        which may be wrong all the same.
        """
        return _list_errors(self._validator, document)

    def element_errors(self, pointer: str, element: object) -> Errors:
        """List what ``element`` violates of the subschema that ``pointer`` names."""
        validator = self._subschemas.get(pointer)
        return () if validator is None else _list_errors(validator, element)

    @cached_property
    def _subschemas(self) -> jsonschema_rs.ValidatorMap:
        return jsonschema_rs.validator_map_for(self._schema, **_options())


def _options() -> dict[str, Any]:
    return {
        "validate_formats": True,
        "pattern_options": jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
        "offline": True,
        "mask": "value",  # Messages are not read; printing the value in each is the larger cost.
    }


def _list_errors(validator: jsonschema_rs.Validator, document: object) -> Errors:
    try:
        return cast(Errors, list(validator.iter_errors(document)))
    except ValueError:
        return ()


_CLASSES = {
    "type": "wrong_type",
    "required": "missing_key",
    "dependentRequired": "missing_key",
    "dependencies": "missing_key",
    "minItems": "wrong_count",
    "maxItems": "wrong_count",
    "minProperties": "wrong_count",
    "maxProperties": "wrong_count",
    "contains": "wrong_count",
    "minContains": "wrong_count",
    "maxContains": "wrong_count",
    "additionalProperties": "extra_key",
    "unevaluatedProperties": "extra_key",
    "propertyNames": "extra_key",
    "additionalItems": "extra_item",
    "unevaluatedItems": "extra_item",
    "enum": "not_in_enum",
    "const": "not_in_enum",
    "pattern": "pattern_mismatch",
    "format": "format_mismatch",
    "minLength": "wrong_length",
    "maxLength": "wrong_length",
    "minimum": "out_of_range",
    "maximum": "out_of_range",
    "exclusiveMinimum": "out_of_range",
    "exclusiveMaximum": "out_of_range",
    "multipleOf": "out_of_range",
    "uniqueItems": "repeated_item",
    "not": "forbidden_value",
    "falseSchema": "forbidden_value",
    "anyOf": "no_matching_branch",
    "oneOf": "no_matching_branch",
}
_PRECEDENCE = {keyword: rank for rank, keyword in enumerate(_CLASSES)}


def first_violation(errors: Iterable[ValidationError]) -> Violation:
    """Pick the violation to show: the one nearest the root, of those the most telling kind."""
    path, keyword, last = min(_sort_key(error) for error in errors)[1:]
    pointer = "".join(f"/{token.replace('~', '~0').replace('/', '~1')}" for token in path)
    if keyword == "type" and not path:
        return Violation("wrong_top_level_type", "")
    if keyword == "required":
        pointer += f"/{last.replace('~', '~0').replace('/', '~1')}"
    return Violation(_CLASSES.get(keyword, "constraint_failed"), pointer)


def _sort_key(
    error: ValidationError,
) -> tuple[tuple[int, int], tuple[str, ...], str, str]:
    kind = error.kind
    keyword = _keyword(error)
    path = tuple(map(str, error.instance_path))
    rank = _PRECEDENCE.get(keyword, len(_PRECEDENCE))
    return (len(path), rank), path, keyword, getattr(kind, "property", "")


def _keyword(error: ValidationError) -> str:
    """Name the violated keyword; branches that all ask for another type are a wrong type."""
    name: str = error.kind.name
    if name in ("anyOf", "oneOf"):
        branches = error.kind.context
        inner = [nested for branch in branches for nested in branch]
        if inner and all(
            nested.kind.name == "type" and nested.instance_path == error.instance_path
            for nested in inner
        ):
            return "type"
    return name
