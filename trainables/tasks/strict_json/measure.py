"""Measures difficulty and constructs on the schema.

Difficulty counts the levels, arrays, choices and limits of a schema. It ignores everything that a
skeleton erases, so all prompts of a family have the same difficulty. References are not followed: a
schema that relies on them is measured as easier than it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainables.tasks.strict_json.skeleton import subschemas

__all__ = ["DIFFICULTIES", "Difficulty", "Measure", "constructs_of", "difficulty_of", "measure"]

Difficulty = Literal["simple", "medium", "hard"]
DIFFICULTIES: tuple[Difficulty, ...] = ("simple", "medium", "hard")
"""Easiest first."""

POINTS_SIMPLE = 3
"""The most points of a simple schema."""
POINTS_MEDIUM = 9
"""The most points of a medium schema."""
FREE_KEYS = 4
"""Number of keys that cost nothing; each further one costs a point."""
POINTS_PER_LEVEL = 2

_LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "not",
    "anyOf",
    "oneOf",
)
_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Counts of what a schema asks for."""

    depth: int
    """Containers on the longest path: 1 for a flat object or array."""
    num_keys: int
    num_arrays: int
    num_enums: int
    """Enums and constants."""
    num_exact_counts: int
    """Arrays and objects whose size is fixed; each also counts as two constraints."""
    num_constraints: int
    """Keywords that limit a value: ranges, lengths, counts, formats, closed objects."""

    @property
    def points(self) -> int:
        """The sum that determines the difficulty."""
        levels = POINTS_PER_LEVEL * max(0, self.depth - 1)
        extra_keys = max(0, self.num_keys - FREE_KEYS)
        return levels + extra_keys + self.num_arrays + self.num_enums + self.num_constraints

    @property
    def difficulty(self) -> Difficulty:
        """The difficulty of the schema."""
        if self.points <= POINTS_SIMPLE:
            return "simple"
        return "medium" if self.points <= POINTS_MEDIUM else "hard"


def difficulty_of(schema: Mapping[str, Any] | bool) -> Difficulty:
    """Return the difficulty of a schema."""
    return measure(schema).difficulty


def measure(schema: Mapping[str, Any] | bool) -> Measure:
    """Count what the schema asks for."""
    nodes = list(_walk(schema, 0)) if isinstance(schema, Mapping) else []
    return Measure(
        depth=max((depth for _, depth in nodes), default=0),
        num_keys=sum(len(_properties(node)) for node, _ in nodes),
        num_arrays=sum(_is_type(node, "array") for node, _ in nodes),
        num_enums=sum("enum" in node or "const" in node for node, _ in nodes),
        num_exact_counts=sum(_has_exact_count(node) for node, _ in nodes),
        num_constraints=sum(
            sum(keyword in node for keyword in _LIMITS)
            + ("additionalProperties" in node and node["additionalProperties"] is not True)
            for node, _ in nodes
        ),
    )


def constructs_of(schema: Mapping[str, Any] | bool) -> tuple[str, ...]:
    """Return the names of the constructs that the schema uses, sorted."""
    if not isinstance(schema, Mapping):
        return ()
    found = set(_root_constructs(schema))
    for node, _ in _walk(schema, 0):
        found.update(_leaf_constructs(node))
        found.update(_container_constructs(node))
    return tuple(sorted(found))


def _root_constructs(schema: Mapping[str, Any]) -> Iterator[str]:
    if _is_type(schema, "array"):
        yield "top_level_array"
    depth = measure(schema).depth
    if depth > 1:
        yield "nesting"
    if depth > 2:
        yield "deep_nesting"


def _leaf_constructs(node: Mapping[str, Any]) -> Iterator[str]:
    for keyword in ("enum", "const", "format", "pattern"):
        if keyword in node:
            yield keyword
    if "minLength" in node or "maxLength" in node:
        yield "length"
    if any(keyword in node for keyword in _RANGE):
        yield "range"
    if "multipleOf" in node:
        yield "multiple_of"
    if isinstance(node.get("type"), list) and "null" in node["type"]:
        yield "nullable"


def _container_constructs(node: Mapping[str, Any]) -> Iterator[str]:
    low = "minItems" in node or "minProperties" in node
    high = "maxItems" in node or "maxProperties" in node
    if _has_exact_count(node):
        yield "exact_count"
    elif low or high:
        yield "count_limit"
    if node.get("uniqueItems") is True:
        yield "unique_items"
    if _is_type(node, "array"):
        items = node.get("items")
        is_object = isinstance(items, Mapping) and _is_type(items, "object")
        yield "array_of_objects" if is_object else "array"
    closing = node.get("additionalProperties")
    if closing is False:
        yield "closed_object"
    elif isinstance(closing, Mapping):
        yield "free_keys"
    required = node.get("required")
    known = required if isinstance(required, list) else []
    if any(name not in known for name in _properties(node)):
        yield "optional_key"


def _walk(schema: Mapping[str, Any], depth: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield every subschema with the number of containers around it, itself included."""
    inside = depth + (_is_type(schema, "object") or _is_type(schema, "array"))
    yield schema, inside
    for child in subschemas(schema):
        yield from _walk(child.schema, inside)


def _properties(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the declared keys, if ``properties`` is an object."""
    declared = node.get("properties")
    return declared if isinstance(declared, Mapping) else {}


def _is_type(node: Mapping[str, Any], name: str) -> bool:
    if "type" not in node:
        return ("properties" in node) if name == "object" else ("items" in node)
    return node["type"] == name or (isinstance(node["type"], list) and name in node["type"])


def _has_exact_count(node: Mapping[str, Any]) -> bool:
    return any(
        low in node and node[low] == node.get(high)
        for low, high in (("minItems", "maxItems"), ("minProperties", "maxProperties"))
    )
