"""Builds the tree of locations of a JSON Schema.

References are followed within the schema, one level into recursion; deeper, a value just passes or
fails. Beyond the limits on the tree's size nothing is checked: the verdict on a document never
depends on the tree. Keywords that are neither structure nor plain values (prohibitions, conditions)
are left to the validator, one at a time.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from trainables.tasks.strict_json.keywords import python_types, type_check, value_checks
from trainables.tasks.strict_json.locations import (
    Check,
    Combinator,
    Count,
    Member,
    Node,
    Option,
    Scope,
    Search,
)
from trainables.tasks.strict_json.validation import Predicate, keyword_check

__all__ = ["build_scope"]

MAX_NODES = 2_000
"""Maximum number of nodes: references can multiply a small schema without bound."""
MAX_NESTING = 60
"""Maximum depth of the tree, so that walking it needs no deep stack."""
BULK_FACTOR = 2
MIN_BULK = 20
"""More elements than this, and than ``BULK_FACTOR`` times as many as asked for, are bulk."""

_REF_ALONE = ("draft-03", "draft-04", "draft-06", "draft-07")
"""Drafts in which a reference disables the keywords beside it."""
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
"""Keywords left to the validator, each with the neighbouring keywords that it needs."""


class _Place(NamedTuple):
    """Where the builder is in the schema."""

    scope: Scope
    num_expected: float
    """As in ``Scope``."""
    references: tuple[str, ...]


def build_scope(root: object) -> Scope:
    """Build the locations of a whole schema."""
    builder = _Builder(root)
    scope = builder.scope(root, ("#",))
    scope.bulk = _bulk(builder.most_asked)
    return scope


class _Builder:
    """Walks one schema; all its scopes share the limits on size."""

    def __init__(self, root: object) -> None:
        self._root = root
        fields = root if isinstance(root, Mapping) else {}
        draft = str(fields.get("$schema", ""))
        self._hides_siblings = any(name in draft for name in _REF_ALONE)
        self._float_is_integer = "draft-04" not in draft and "draft-03" not in draft
        self._draft = {name: fields[name] for name in ("$schema",) if name in fields}
        self._context = {
            name: fields[name] for name in ("$schema", "$defs", "definitions") if name in fields
        }
        self._references: dict[str, Predicate] = {}
        self._num_nodes = 0
        self._nesting = 0
        self._num_keys = 0
        self.most_asked = 0.0
        """The number of elements in the largest container that the schema asks for."""

    def scope(self, schema: object, references: tuple[str, ...]) -> Scope:
        scope = Scope(Node())
        scope.node = self._node(schema, _Place(scope, 0.0, references))
        scope.total = sum(scope.weights)
        scope.types = _possible_types(scope.node)
        scope.only = _only_question(scope.node) if len(scope.weights) == 1 else None
        return scope

    def _node(self, schema: object, place: _Place) -> Node:
        node = Node(start=len(place.scope.weights), num_expected=place.num_expected)
        self._num_nodes += 1
        self._nesting += 1
        if schema is False:
            node.is_false = True
        elif isinstance(schema, Mapping) and self._has_room():
            self._fill(node, schema, place)
        self._nesting -= 1
        node.stop = len(place.scope.weights)
        return node

    def _has_room(self) -> bool:
        return self._num_nodes <= MAX_NODES and self._nesting <= MAX_NESTING

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
        passes = self._references.get(reference)
        if passes is None:
            passes = keyword_check(self._context, {"$ref": reference})
            self._references[reference] = passes
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
        for keyword, passes in value_checks(self._draft, schema):
            node.checks.append(Check(self._unit(place), self._key(), keyword, passes))

    def _add_combinator(
        self, node: Node, schema: Mapping[str, object], keyword: str, place: _Place
    ) -> None:
        branches = _sequence(schema.get(keyword))
        if not branches:
            return
        scopes = tuple(self.scope(branch, place.references) for branch in branches)
        unit = self._unit(place, weight=max(1.0, *(scope.total for scope in scopes)))
        node.combinators.append(Combinator(unit, keyword, scopes))

    def _add_searches(self, node: Node, schema: Mapping[str, object], place: _Place) -> None:
        """Add ``contains``, and ``not`` if it says that not every element fails a schema."""
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
        """Add required members with everything they must hold, and the schema of other members."""
        properties = _mapping(schema.get("properties"))
        self.most_asked = max(self.most_asked, len(properties))
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
        """Build the schema of elements: locations if there must be at least one."""
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
        if least < 1:
            return Count(-1, self._key(), low, least, most, _MANY)
        self.most_asked = max(self.most_asked, least)
        return Count(self._unit(place), self._key(), low, least, most, _bulk(least))

    def _add_asked(self, node: Node, schema: Mapping[str, object]) -> None:
        if schema.keys() & _ASKED.keys():
            for keyword in [keyword for keyword in _ASKED if keyword in schema]:
                neighbours = _ASKED[keyword]
                names = [keyword, *(name for name in neighbours if name in schema)]
                passes = keyword_check(self._context, {name: schema[name] for name in names})
                node.checks.append(Check(-1, self._key(), keyword, passes))
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            # These depend on all keywords beside them, so the whole schema is checked.
            passes = keyword_check(self._context, schema)
            node.checks.append(Check(-1, self._key(), "unevaluatedProperties", passes))


def _bulk(least: float) -> float:
    return max(BULK_FACTOR * least, MIN_BULK)


def _possible_types(node: Node) -> frozenset[type] | None:
    """Return the types that all parts of a schema allow; None if they are not limited."""
    limits = [node.types, *map(_possible_types, node.same)]
    for combinator in node.combinators:
        branches = [branch.types for branch in combinator.branches]
        known = [types for types in branches if types is not None]
        if len(known) == len(branches):
            limits.append(frozenset().union(*known))
    given = [types for types in limits if types is not None]
    return frozenset.intersection(*given) if given else None


def _only_question(node: Node) -> Predicate | None:
    """Return the only check of a node, or None if it has several."""
    bare = Node(node.start, node.stop, node.num_expected)
    if len(node.checks) == 1:
        bare.checks = node.checks
        return node.checks[0].passes if node == bare else None
    bare.accepts_type, bare.types = node.accepts_type, node.types
    return node.accepts_type if node == bare else None


def _number(value: object, default: float) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _resolve(root: object, reference: str) -> object:
    """Return the target of a pointer within the schema; None for any other reference."""
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
