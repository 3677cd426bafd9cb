"""The schema grammar: shapes, which are schemas without names, literals and numbers.

A shape fixes the structure and which limits apply; ``schemas`` adds the rest. Each production aims
at a difficulty, but the difficulty of a prompt is always measured on its finished schema (see
``measure``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol, TypeVar

from trainables.tasks.strict_json.measure import Difficulty
from trainables.tasks.strict_json.vocabulary import Kind

__all__ = [
    "Container",
    "Count",
    "Leaf",
    "Limit",
    "ListOf",
    "MapOf",
    "Member",
    "Record",
    "Shape",
    "draw_shape",
]

T = TypeVar("T")


class Limit(StrEnum):
    """The bounds of a text or a number."""

    NONE = "none"
    LOW = "low"
    """``minimum`` or ``minLength``."""
    HIGH = "high"
    """``maximum`` or ``maxLength``."""
    RANGE = "range"
    """``minimum`` and ``maximum``."""
    ABOVE = "above"
    """``exclusiveMinimum``."""
    MULTIPLE = "multiple"
    """``multipleOf``."""


class Count(StrEnum):
    """The bounds on the size of an array, or of an object with free keys."""

    ANY = "any"
    EXACT = "exact"
    LOW = "low"
    HIGH = "high"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value."""

    kind: Kind
    limit: Limit = Limit.NONE
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array."""

    item: "Leaf | Record"
    count: Count
    is_unique: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys, and values of one kind."""

    value: Leaf
    count: Count


@dataclass(frozen=True, slots=True)
class Member:
    """A key of a record."""

    shape: "Shape"
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """An object with named keys."""

    members: tuple[Member, ...]
    is_closed: bool = False
    """Whether other keys are forbidden."""


Container = ListOf | MapOf | Record
Shape = Leaf | Container


class _Production(Protocol):
    def __call__(self, rng: Random) -> Container: ...


_KIND_WEIGHTS: dict[Kind, int] = {
    Kind.TEXT: 8,
    Kind.INTEGER: 7,
    Kind.NUMBER: 4,
    Kind.BOOLEAN: 4,
    Kind.ENUM: 4,
    Kind.CONST_TEXT: 1,
    Kind.CONST_INTEGER: 1,
    Kind.CONST_BOOLEAN: 1,
    Kind.DATE: 2,
    Kind.EMAIL: 1,
    Kind.URI: 1,
    Kind.CODE: 2,
}
_PLAIN_KINDS: dict[Kind, int] = {
    Kind.TEXT: 4,
    Kind.INTEGER: 4,
    Kind.NUMBER: 3,
    Kind.BOOLEAN: 3,
}
_LIST_KINDS: dict[Kind, int] = {
    Kind.TEXT: 8,
    Kind.INTEGER: 6,
    Kind.NUMBER: 3,
    Kind.BOOLEAN: 1,
    Kind.ENUM: 3,
    Kind.DATE: 1,
    Kind.EMAIL: 1,
    Kind.CODE: 1,
}
_LIMITS: dict[Kind, tuple[Limit, ...]] = {
    Kind.TEXT: (Limit.LOW, Limit.HIGH),
    Kind.INTEGER: (
        Limit.RANGE,
        Limit.RANGE,
        Limit.LOW,
        Limit.HIGH,
        Limit.ABOVE,
        Limit.MULTIPLE,
    ),
    Kind.NUMBER: (Limit.RANGE, Limit.LOW, Limit.HIGH, Limit.ABOVE),
}
MAX_ALIKE = 3
"""Most values of one kind in a record."""

_NULLABLE_KINDS = frozenset({Kind.TEXT, Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN})
_UNIQUE_KINDS = frozenset({Kind.TEXT, Kind.INTEGER, Kind.ENUM})


def draw_shape(rng: Random, aim: Difficulty) -> Container:
    """Draw a shape that is likely, but not certain, to measure as ``aim``."""
    return _weighted(rng, _PRODUCTIONS[aim])(rng)


def _flat_small(rng: Random) -> Container:
    plain = rng.random() < 0.5
    members = [Member(leaf) for leaf in _leaves(rng, 2, 4, limited=0.2, plain=plain)]
    return Record(tuple(members), is_closed=rng.random() < 0.3)


def _list_small(rng: Random) -> Container:
    item = _list_leaf(rng, limited=0.3)
    return ListOf(item, _count(rng), is_unique=_draw_unique(rng, item, 0.15))


def _record_with_plain_list(rng: Random) -> Container:
    leaves = _leaves(rng, 1, 3, limited=0.0, plain=True)
    item = Leaf(_weighted(rng, _PLAIN_KINDS))
    return _record(rng, [*leaves, ListOf(item, Count.ANY)], closed=0.0, optional=0.0)


def _map_small(rng: Random) -> Container:
    return MapOf(_list_leaf(rng, limited=0.1), rng.choice((Count.ANY, Count.LOW, Count.HIGH)))


def _flat_wide(rng: Random) -> Container:
    leaves = _leaves(rng, 3, 6, limited=0.5)
    return _record(rng, leaves, closed=0.5)


def _record_with_part(rng: Random) -> Container:
    leaves = _leaves(rng, 1, 3, limited=0.3)
    return _record(rng, [*leaves, _part(rng)], closed=0.3)


def _list_of_records(rng: Random) -> Container:
    leaves = _leaves(rng, 2, 4, limited=0.25)
    return ListOf(_record(rng, leaves, closed=0.35), _count(rng))


def _nested(rng: Random) -> Container:
    leaves = _leaves(rng, 1, 3, limited=0.4)
    parts = [_part(rng, deep=0.35) for _ in range(2)]
    return _record(rng, [*leaves, *parts], closed=0.5)


def _deep(rng: Random) -> Container:
    leaves = _leaves(rng, 1, 3, limited=0.4)
    return _record(rng, [*leaves, _part(rng, deep=1.0)], closed=0.5)


def _list_of_nested(rng: Random) -> Container:
    leaves = _leaves(rng, 1, 3, limited=0.4)
    return ListOf(_record(rng, [*leaves, _part(rng)], closed=0.5), _count(rng))


_PRODUCTIONS: dict[Difficulty, dict[_Production, int]] = {
    "simple": {_flat_small: 7, _list_small: 2, _record_with_plain_list: 2, _map_small: 1},
    "medium": {_flat_wide: 2, _record_with_part: 5, _list_of_records: 3},
    "hard": {_nested: 4, _deep: 3, _list_of_nested: 3},
}


def _part(rng: Random, deep: float = 0.0) -> Container:
    """Draw a container inside a record; with chance ``deep`` it holds another container."""
    if rng.random() < deep:
        leaves = _leaves(rng, 1, 2, limited=0.3)
        inner = _record(rng, [*leaves, _part(rng)], closed=0.2)
        return ListOf(inner, _count(rng)) if rng.random() < 0.4 else inner
    pick = rng.random()
    if pick < 0.4:
        item = _list_leaf(rng, limited=0.3)
        return ListOf(item, _count(rng), is_unique=_draw_unique(rng, item, 0.2))
    if pick < 0.5:
        return MapOf(_list_leaf(rng, limited=0.2), _count(rng))
    leaves = _leaves(rng, 2, 3, limited=0.25)
    inner = _record(rng, leaves, closed=0.3)
    return inner if pick < 0.75 else ListOf(inner, _count(rng))


def _record(
    rng: Random, shapes: Sequence[Shape], *, closed: float, optional: float = 0.06
) -> Record:
    order = rng.sample(list(shapes), len(shapes)) if rng.random() < 0.3 else list(shapes)
    members = [Member(shape, is_optional=rng.random() < optional) for shape in order]
    if all(member.is_optional for member in members):
        members[0] = Member(members[0].shape)
    return Record(tuple(members), is_closed=rng.random() < closed)


def _leaves(
    rng: Random, least: int, most: int, *, limited: float, plain: bool = False
) -> list[Leaf]:
    """Draw the single values of a record; limited per kind, as rare kinds have few names."""
    size = rng.randint(least, most)
    leaves: list[Leaf] = []
    while len(leaves) < size:
        leaf = _leaf(rng, limited=limited, plain=plain)
        if sum(other.kind is leaf.kind for other in leaves) < MAX_ALIKE:
            leaves.append(leaf)
    return leaves


def _leaf(rng: Random, *, limited: float, plain: bool = False) -> Leaf:
    kind = _weighted(rng, _PLAIN_KINDS if plain else _KIND_WEIGHTS)
    is_nullable = kind in _NULLABLE_KINDS and rng.random() < 0.08
    return Leaf(kind, _limit(rng, kind, limited), is_nullable)


def _list_leaf(rng: Random, *, limited: float) -> Leaf:
    kind = _weighted(rng, _LIST_KINDS)
    return Leaf(kind, _limit(rng, kind, limited))


def _limit(rng: Random, kind: Kind, chance: float) -> Limit:
    if kind not in _LIMITS or rng.random() >= chance:
        return Limit.NONE
    return rng.choice(_LIMITS[kind])


def _count(rng: Random) -> Count:
    return rng.choice((Count.EXACT, Count.EXACT, Count.EXACT, Count.LOW, Count.HIGH, Count.RANGE))


def _draw_unique(rng: Random, item: Leaf, chance: float) -> bool:
    return item.kind in _UNIQUE_KINDS and rng.random() < chance


def _weighted(rng: Random, weights: dict[T, int]) -> T:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]
