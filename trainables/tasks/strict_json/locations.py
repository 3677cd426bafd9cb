"""The schema as a tree of locations, built once and graded against every wrong document.

What is reached from the root through required members counts; the tree depends on the
schema alone, so a document cannot add to what is counted by being larger. Option
members, extra keys, prohibitions and conditions stand beside it: they cost when violated
and earn nothing when kept. References are followed within the schema, one level into
recursion; deeper, a value just passes or fails.

Keywords that are neither structure nor plain values (prohibitions, conditions) are asked
of the validator, one at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from trainables.tasks.strict_json.keywords import (
    Predicate,
    python_types,
    type_check,
    value_checks,
)
from trainables.tasks.strict_json.validation import keyword_check

__all__ = [
    "Check",
    "Combinator",
    "Count",
    "Member",
    "Node",
    "Option",
    "Scope",
    "Search",
    "build_scope",
]

MAX_LOCATIONS = 2_000
"""The tree stops growing here: references can multiply a small schema without bound."""

_REF_ALONE = ("draft-03", "draft-04", "draft-06", "draft-07")
"""Drafts in which a reference hides the keywords beside it."""
_MANY = float("inf")
_ASKED = {
    "if": ("then", "else"),
    "patternProperties": ("properties", "additionalProperties"),
    "propertyNames": (),
    "dependentRequired": (),
    "dependentSchemas": (),
    "dependencies": (),
    "uniqueItems": (),
    "minContains": ("contains", "maxContains"),
    "maxContains": ("contains", "minContains"),
    "$dynamicRef": (),
    "$recursiveRef": (),
}
"""Keywords left to the validator, each with the neighbours that it needs."""


class Check(NamedTuple):
    """A keyword that a value passes or fails."""

    unit: int
    """The location's index, or -1 for a prohibition or condition: no location of its own."""
    key: int
    """Identifies the check among the violations outside the locations."""
    keyword: str
    passes: Predicate


class Count(NamedTuple):
    """Bounds on the number of elements."""

    unit: int
    """As in ``Check``; both bounds are one location, or too few could become too many."""
    key: int
    keyword: str
    least: float
    most: float


class Combinator(NamedTuple):
    """``anyOf`` or ``oneOf``: the best branch counts."""

    unit: int
    keyword: str
    branches: tuple["Scope", ...]


class Search(NamedTuple):
    """``contains``, or for members "not all fail a schema": the best element counts."""

    unit: int
    kind: type
    """The container whose elements are searched."""
    keyword: str
    element: "Scope"


class Option(NamedTuple):
    """A schema for values that need not be there."""

    key: int
    scope: "Scope"


class Member(NamedTuple):
    """A required member of an object."""

    name: str
    unit: int
    """Its presence; all that it must hold follows, up to ``stop``."""
    stop: int
    node: "Node"


@dataclass(slots=True)
class Node:
    """One schema at one place; it takes up the locations ``start`` to ``stop``."""

    start: int = 0
    stop: int = 0
    num_expected: float = 0.0
    """As in ``Scope``."""
    is_false: bool = False
    accepts_type: Predicate | None = None
    types: frozenset[type] | None = None
    """The Python types of values that may pass; None for all."""
    checks: list[Check] = field(default_factory=list)
    same: list["Node"] = field(default_factory=list)
    """Schemas for the same value: a reference's target, the branches of ``allOf``."""
    combinators: list[Combinator] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    optional: list[tuple[str, Option]] = field(default_factory=list)
    known: frozenset[str] | None = None
    """The declared members; None where extra ones are nobody's business."""
    extra: "Node | Option | int | None" = None
    """What extra members must be; a number is the key of their prohibition."""
    num_members: Count | None = None
    num_items: Count | None = None
    prefix: list["Node | Option"] = field(default_factory=list)
    rest: "Node | Option | int | None" = None
    """What the items behind the prefix must be, as for ``extra``."""


@dataclass(slots=True)
class Scope:
    """Locations that are weighed against each other: a schema, or a branch or option of one."""

    node: Node
    weights: list[float] = field(default_factory=list)
    num_expected: list[float] = field(default_factory=list)
    """How many values of a location the schema asks for at least; 0 where just one can be."""
    total: float = 0.0
    types: frozenset[type] | None = None
    """A value of any other type fails everywhere; None if there is no such type."""


class _Place(NamedTuple):
    """Where the builder stands."""

    scope: Scope
    num_expected: float
    """As in ``Scope``."""
    references: tuple[str, ...]


def build_scope(root: object) -> Scope:
    """Build the locations of a whole schema."""
    return _Builder(root).scope(root, ("#",))


class _Builder:
    """Walks one schema; all of its scopes share one budget."""

    def __init__(self, root: object) -> None:
        self._root = root
        fields = root if isinstance(root, Mapping) else {}
        draft = str(fields.get("$schema", ""))
        self._hides_siblings = any(name in draft for name in _REF_ALONE)
        self._float_is_integer = "draft-04" not in draft and "draft-03" not in draft
        self._context = {
            name: fields[name] for name in ("$schema", "$defs", "definitions") if name in fields
        }
        self._budget = MAX_LOCATIONS
        self._num_keys = 0

    def scope(self, schema: object, references: tuple[str, ...]) -> Scope:
        scope = Scope(Node())
        scope.node = self._node(schema, _Place(scope, 0.0, references))
        scope.total = sum(scope.weights)
        scope.types = _possible_types(scope.node)
        return scope

    def _node(self, schema: object, place: _Place) -> Node:
        node = Node(start=len(place.scope.weights), num_expected=place.num_expected)
        if isinstance(schema, Mapping) and self._budget > 0:
            self._fill(node, schema, place)
        elif schema is False:
            node.is_false = True
        node.stop = len(place.scope.weights)
        return node

    def _fill(self, node: Node, schema: Mapping[str, object], place: _Place) -> None:
        if isinstance(schema.get("$ref"), str):
            self._add_reference(node, str(schema["$ref"]), place)
            if self._hides_siblings:
                return
        self._add_value_keywords(node, schema, place)
        for branch in _sequence(schema.get("allOf")):
            node.same.append(self._node(branch, place))
        for keyword in ("anyOf", "oneOf"):
            self._add_combinator(node, schema, keyword, place)
        self._add_searches(node, schema, place)
        self._add_members(node, schema, place)
        self._add_items(node, schema, place)
        self._add_asked(node, schema)

    def _unit(self, place: _Place, *, weight: float = 1.0) -> int:
        self._budget -= 1
        place.scope.weights.append(weight)
        place.scope.num_expected.append(place.num_expected)
        return len(place.scope.weights) - 1

    def _key(self) -> int:
        self._num_keys += 1
        return self._num_keys

    def _add_reference(self, node: Node, reference: str, place: _Place) -> None:
        followed = place.references.count(reference) <= 1
        target = _resolve(self._root, reference) if followed else None
        if target is not None:
            below = place._replace(references=(*place.references, reference))
            node.same.append(self._node(target, below))
            return
        passes = keyword_check(self._context, {"$ref": reference})
        node.checks.append(Check(self._unit(place), self._key(), "$ref", passes))

    def _add_value_keywords(self, node: Node, schema: Mapping[str, object], place: _Place) -> None:
        types = schema.get("type")
        if types is not None:
            self._unit(place)
            names = [types] if isinstance(types, str) else _sequence(types)
            node.types = python_types(names)
            whole_floats = self._float_is_integer and int in node.types and float not in node.types
            node.accepts_type = type_check(node.types, whole_floats=whole_floats)
            if whole_floats:
                node.types |= {float}
        for keyword, passes in value_checks(self._context, schema):
            node.checks.append(Check(self._unit(place), self._key(), keyword, passes))

    def _add_combinator(
        self, node: Node, schema: Mapping[str, object], keyword: str, place: _Place
    ) -> None:
        branches = _sequence(schema.get(keyword))
        if not branches or self._budget <= 0:
            return
        scopes = tuple(self.scope(branch, place.references) for branch in branches)
        unit = self._unit(place, weight=max(1.0, *(scope.total for scope in scopes)))
        node.combinators.append(Combinator(unit, keyword, scopes))

    def _add_searches(self, node: Node, schema: Mapping[str, object], place: _Place) -> None:
        """Add ``contains``, and ``not`` where it says that not every element fails a schema."""
        if "contains" in schema and not {"minContains", "maxContains"} & schema.keys():
            self._add_search(node, list, "contains", schema["contains"], place)
        negated = schema.get("not")
        if negated is None:
            return
        for keyword, kind in (("additionalProperties", dict), ("items", list)):
            inner = negated.get(keyword) if isinstance(negated, Mapping) else None
            if isinstance(inner, Mapping) and set(inner) == {"not"} and negated == {keyword: inner}:
                self._add_search(node, kind, "not", inner["not"], place)
                return
        passes = keyword_check(self._context, {"not": negated})
        node.checks.append(Check(-1, self._key(), "not", passes))

    def _add_search(
        self, node: Node, kind: type, keyword: str, schema: object, place: _Place
    ) -> None:
        element = self.scope(schema, place.references)
        unit = self._unit(place, weight=max(1.0, element.total))
        node.searches.append(Search(unit, kind, keyword, element))

    def _add_members(self, node: Node, schema: Mapping[str, object], place: _Place) -> None:
        """Add required members with all that they must hold, and what others must be."""
        properties = _mapping(schema.get("properties"))
        required = dict.fromkeys(
            name for name in _sequence(schema.get("required")) if isinstance(name, str)
        )
        for name in required:
            unit = self._unit(place)
            child = self._node(properties.get(name, True), place)
            node.members.append(Member(name, unit, child.stop, child))
        for name, subschema in properties.items():
            if name not in required and subschema not in (True, {}):
                node.optional.append((name, self._optional(subschema, place)))
        node.num_members = self._count(schema, "minProperties", "maxProperties", place)
        extra = schema.get("additionalProperties", True)
        if extra not in (True, {}) and "patternProperties" not in schema:
            node.known = frozenset(properties)
            least = node.num_members.least if node.num_members else 0
            num_declared = len(properties.keys() | required.keys())
            node.extra = self._element(extra, place, least=least - num_declared)

    def _add_items(self, node: Node, schema: Mapping[str, object], place: _Place) -> None:
        node.num_items = self._count(schema, "minItems", "maxItems", place)
        least = node.num_items.least if node.num_items else 0
        is_tuple = isinstance(schema.get("items"), list)
        prefix = _sequence(schema.get("items" if is_tuple else "prefixItems"))
        for position, element in enumerate(prefix):
            if position < least:
                node.prefix.append(self._node(element, place))
            else:
                node.prefix.append(self._optional(element, place))
        rest = schema.get("additionalItems" if is_tuple else "items", True)
        if rest not in (True, {}):
            node.rest = self._element(rest, place, least=least - len(prefix))

    def _element(self, schema: object, place: _Place, *, least: float) -> "Node | Option | int":
        """Build what any number of elements must be: locations if there must be one."""
        if schema is False:
            return self._key()
        if least < 1:
            return self._optional(schema, place)
        num_expected = least * max(place.num_expected, 1.0)
        return self._node(schema, place._replace(num_expected=num_expected))

    def _optional(self, schema: object, place: _Place) -> Option:
        return Option(self._key(), self.scope(schema, place.references))

    def _count(
        self, schema: Mapping[str, object], low: str, high: str, place: _Place
    ) -> Count | None:
        least, most = _number(schema.get(low), 0.0), _number(schema.get(high), _MANY)
        if least < 1 and most == _MANY:
            return None
        unit = self._unit(place) if least >= 1 else -1
        return Count(unit, self._key(), low, least, most)

    def _add_asked(self, node: Node, schema: Mapping[str, object]) -> None:
        for keyword, neighbours in _ASKED.items():
            if keyword in schema:
                names = [keyword, *(name for name in neighbours if name in schema)]
                passes = keyword_check(self._context, {name: schema[name] for name in names})
                node.checks.append(Check(-1, self._key(), keyword, passes))
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            # These depend on everything beside them, so all of it is asked again.
            passes = keyword_check(self._context, schema)
            node.checks.append(Check(-1, self._key(), "unevaluatedProperties", passes))


def _possible_types(node: Node) -> frozenset[type] | None:
    """Return the types that every part of a schema leaves possible."""
    limits = [node.types, *map(_possible_types, node.same)]
    for combinator in node.combinators:
        branches = [branch.types for branch in combinator.branches]
        known = [types for types in branches if types is not None]
        if len(known) == len(branches):
            limits.append(frozenset().union(*known))
    given = [types for types in limits if types is not None]
    return frozenset.intersection(*given) if given else None


def _number(value: object, default: float) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _resolve(root: object, reference: str) -> object:
    """Return what a pointer within the schema names; None for any other reference."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    target = root
    for token in reference[1:].split("/")[1:]:
        token = unquote(token).replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping) and token in target:
            target = target[token]
        elif isinstance(target, list) and token.isdigit() and int(token) < len(target):
            target = target[int(token)]
        else:
            return None
    return target
