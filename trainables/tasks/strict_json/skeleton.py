"""Skeletons: schemas without their names, literals and numbers.

All prompts whose schemas share a skeleton form a family. Families never cross splits, and standard
errors are clustered by family. The erasure is as coarse as possible (formats and patterns count as
literals, required keys as names), so that any finer notion of structure can only split families,
never put one on both sides of a split. References are not followed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Subschema", "family_of", "skeleton", "subschemas"]

ERASED = "#"

_ANNOTATIONS = frozenset(
    {"$schema", "$id", "$anchor", "$comment", "title", "description", "default", "examples"}
)
_NAME_KEYWORDS = frozenset({"required", "dependentRequired"})
_MAPS_OF_SCHEMAS = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
_LISTS_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS = frozenset(
    {
        "items",
        "additionalItems",
        "additionalProperties",
        "contains",
        "not",
        "if",
        "then",
        "else",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)


class Subschema(NamedTuple):
    """A direct child of a schema."""

    keyword: str
    name: str
    """The property's name if the keyword maps names to schemas, else empty."""
    schema: Mapping[str, Any]


def family_of(schema: Mapping[str, Any] | bool) -> str:
    """Return the family id: twelve hex digits of the skeleton's hash."""
    return hashlib.sha256(skeleton(schema).encode()).hexdigest()[:12]


def skeleton(schema: Mapping[str, Any] | bool) -> str:
    """Return the schema's skeleton as canonical JSON text.

    Two schemas have the same skeleton if and only if they differ only in names, literals,
    numbers, annotations, order, and in which keys are required.
    """
    return json.dumps(_erase(schema), sort_keys=True, separators=(",", ":"))


def subschemas(schema: Mapping[str, Any]) -> Iterator[Subschema]:
    """Yield the direct subschemas, except boolean ones."""
    for keyword, value in schema.items():
        if keyword in _MAPS_OF_SCHEMAS and isinstance(value, Mapping):
            for name, child in value.items():
                if isinstance(child, Mapping):
                    yield Subschema(keyword, name, child)
        elif keyword in _LISTS_OF_SCHEMAS or (keyword == "items" and isinstance(value, list)):
            for child in value:
                if isinstance(child, Mapping):
                    yield Subschema(keyword, "", child)
        elif keyword in _SCHEMAS and isinstance(value, Mapping):
            yield Subschema(keyword, "", value)


def _erase(schema: object) -> object:
    if not isinstance(schema, Mapping):
        return schema if isinstance(schema, bool) else ERASED
    return {
        keyword: _erase_value(keyword, value)
        for keyword, value in schema.items()
        if keyword not in _ANNOTATIONS and keyword not in _NAME_KEYWORDS
    }


def _erase_value(keyword: str, value: object) -> object:
    if keyword in _MAPS_OF_SCHEMAS and isinstance(value, Mapping):
        return _in_order([_erase(child) for child in value.values()])
    if keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
        return _in_order([_erase(child) for child in value])
    if keyword in _SCHEMAS:
        return [_erase(child) for child in value] if isinstance(value, list) else _erase(value)
    if keyword == "type":
        return sorted(value, key=str) if isinstance(value, list) else value
    return value if keyword == "uniqueItems" else ERASED


def _in_order(children: list[object]) -> list[object]:
    return sorted(children, key=lambda child: json.dumps(child, sort_keys=True))
