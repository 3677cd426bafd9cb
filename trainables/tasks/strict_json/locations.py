"""A schema as a tree of locations, the form in which ``credit`` reads it.

Locations that are reached from the root through required members count towards the total; the tree
depends on the schema alone, so a larger document cannot add to it. Optional members, extra keys,
prohibitions and conditions are kept beside it: they cost when violated and earn nothing when
observed. ``location_builder`` builds the tree.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from trainables.tasks.strict_json.validation import Predicate

__all__ = ["Check", "Combinator", "Count", "Member", "Node", "Option", "Scope", "Search"]


class Check(NamedTuple):
    """A keyword that a value passes or fails."""

    unit: int
    """The location's index, or -1 for prohibitions and conditions, which have no location."""
    key: int
    """Identifies the check among the violations outside the locations."""
    keyword: str
    passes: Predicate


class Count(NamedTuple):
    """Bounds on the number of elements."""

    unit: int
    """As in ``Check``; both bounds are one location, so that too few cannot become too many."""
    key: int
    keyword: str
    least: float
    most: float
    bulk: float
    """More than this counts as stuffing if another value is wrong; infinite without ``least``."""


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
    """A schema for optional values."""

    key: int
    scope: "Scope"


class Member(NamedTuple):
    """A required member of an object."""

    name: str
    unit: int
    """The location of its presence; all that it must hold follows, up to ``stop``."""
    stop: int
    node: "Node"


@dataclass(slots=True)
class Node:
    """One schema at one place; it occupies the locations ``start`` to ``stop``."""

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
    """The declared members; None if extra members are not restricted."""
    extra: "Node | Option | int | None" = None
    """The schema of extra members; a number is the key of their prohibition."""
    num_members: Count | None = None
    num_items: Count | None = None
    prefix: list["Node | Option"] = field(default_factory=list)
    rest: "Node | Option | int | None" = None
    """The schema of the items after the prefix, as for ``extra``."""


@dataclass(slots=True)
class Scope:
    """Locations that are weighted together: a whole schema, or a branch or option of one."""

    node: Node
    weights: list[float] = field(default_factory=list)
    num_expected: list[float] = field(default_factory=list)
    """The least number of values that the schema asks for at a location; 0 if only one can be."""
    total: float = 0.0
    types: frozenset[type] | None = None
    """A value of any other type fails everywhere; None if any type may pass."""
    only: Predicate | None = None
    """The only check of the scope, if there is just one."""
    bulk: float = 0.0
    """For a whole schema: elements of one container that are more than it ever asks for."""
