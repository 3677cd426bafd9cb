"""A schema as a tree of locations, the form in which ``credit`` reads it.

What is reached from the root through required members counts; the tree depends on the
schema alone, so a document cannot add to what is counted by being larger. Optional
members, extra keys, prohibitions and conditions stand beside it: they cost when violated
and earn nothing when kept. ``location_builder`` makes the tree.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from trainables.tasks.strict_json.validation import Predicate

__all__ = ["Check", "Combinator", "Count", "Member", "Node", "Option", "Scope", "Search"]


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
    bulk: float
    """More than this is stuffing where something else is wrong; infinite without ``least``."""


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
    only: Predicate | None = None
    """All that is asked, where that is one question."""
    bulk: float = 0.0
    """Of a whole schema: elements of one container that are more than it asks for anywhere."""
