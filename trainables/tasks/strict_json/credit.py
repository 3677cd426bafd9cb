"""Partial credit for a document that does not conform, and its violations.

The credit is the share of the schema's required locations that the document gets right, out of all
of them plus its violations elsewhere. Three properties make it safe to train on. Omissions earn
nothing: below a missing or mistyped container everything fails, and observed prohibitions earn
nothing. Bulk earns nothing: a location counts once however many values it has, and only failing
values change its credit. Still, wrong answers differ: each further failing value or location costs.

A document whose outermost container is wrong fails nearly everywhere by these rules. Two common
cases, an answer wrapped once too often and a single element without its list, earn at least a
quarter of what the answer inside would earn, so that a model can learn from there.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from trainables.tasks.strict_json.location_builder import build_scope
from trainables.tasks.strict_json.locations import (
    Combinator,
    Count,
    Node,
    Option,
    Scope,
    Search,
)

__all__ = ["MAX_WRONG_CREDIT", "Failure", "Grade", "Grader"]

MAX_WRONG_CREDIT = 0.95
"""The most that a document can earn without conforming."""
REWRAPPED_FRAC = 0.25
"""The share of its credit that an answer in the wrong outermost container keeps."""

FAILING_WEIGHT = 3.0
"""The number of passing values that one failing value outweighs."""
STUFFED = 75.0
"""Elements beyond a bound at which right elements earn nothing any more."""

_ALL = float("inf")

Path = tuple[str | int, ...]


class Failure(NamedTuple):
    """One violated keyword."""

    keyword: str
    path: Path
    """The path of the value at fault; for a missing member, where it should be."""


class Grade(NamedTuple):
    """The grade of a document that does not conform."""

    credit: float
    """At least 0 and at most ``MAX_WRONG_CREDIT``."""
    failures: list[Failure]


class Grader:
    """Grades documents that do not conform to one schema."""

    def __init__(self, schema: object) -> None:
        """Build the schema's locations."""
        self._scope = build_scope(schema)
        self.bulk = self._scope.bulk
        """The number of elements in one container that is more than the schema ever asks for."""

    def grade(self, document: object) -> Grade:
        """Grade a document that does not conform."""
        failures: list[Failure] = []
        share = _share(self._scope, document, (), failures)
        if share < REWRAPPED_FRAC:
            inside = (
                _share(self._scope, answer, (), None, is_wrong=True)
                for answer in _rewrapped(document, bulk=self.bulk)
            )
            share = max(share, REWRAPPED_FRAC * max(inside, default=0.0))
        return Grade(MAX_WRONG_CREDIT * share, failures)


def _one(node: Node) -> float:
    """Return the cost of a lost value: 1 if there may be many, all if there is only one."""
    return 1.0 if node.num_expected else _ALL


def _rewrapped(document: object, *, bulk: float) -> Iterator[object]:
    """Yield what the answer may have been before it was wrapped, or taken out of its list.

    An object with too many keys is not taken for an element.
    """
    if isinstance(document, dict) and len(document) == 1:
        yield from document.values()
    if isinstance(document, list) and len(document) == 1:
        yield document[0]
    if isinstance(document, dict) and 0 < len(document) <= bulk:
        yield [document]


def _share(
    scope: Scope,
    value: object,
    path: Path,
    failures: list[Failure] | None,
    *,
    is_wrong: bool = False,
) -> float:
    """Return the share of weight earned, out of all locations and violations elsewhere.

    A single value passes or fails. If the schema asks for at least ``n`` values, the credit is
    n / (n + 3 failing), where missing and superfluous values count as failing. The number of
    passing values does not matter, because a plain share could be raised by adding valid items
    next to the wrong one. Filling up a container costs if a value is wrong here, or is known to
    be wrong elsewhere (``is_wrong``).
    """
    if scope.types is not None and type(value) not in scope.types:
        if failures is not None:
            failures.append(Failure("type", path))
        return 0.0
    if scope.only is not None and failures is None:
        return 1.0 if scope.only(value) else 0.0
    tally = _Tally(failures)
    tally.visit(scope.node, value, path)
    if tally.is_clear and not is_wrong:
        return 1.0
    tally.charge_stuffing()
    earned = total = scope.total
    for unit, amount in tally.failing.items():
        num_expected = scope.num_expected[unit]
        if num_expected and amount < _ALL:
            amount *= FAILING_WEIGHT / (num_expected + FAILING_WEIGHT * amount)
        earned -= scope.weights[unit] * min(amount, 1.0)
    if not total:
        earned = total = 1.0
    total += sum(amount / (1.0 + amount) for amount in tally.elsewhere.values())
    return max(earned, 0.0) / total


class _Tally:
    """The failures of one value against the locations of a scope."""

    __slots__ = ("_failures", "_stuffing", "elsewhere", "failing")

    def __init__(self, failures: list[Failure] | None) -> None:
        self._failures = failures
        self._stuffing: list[tuple[int, float]] = []
        self.failing: dict[int, float] = {}
        """Failing values by location; fractions for values that are nearly right."""
        self.elsewhere: dict[int, float] = {}
        """Failing values by key: optional members, prohibitions, conditions."""

    @property
    def is_clear(self) -> bool:
        """Whether nothing is violated."""
        return not self.failing and not self.elsewhere

    def charge_stuffing(self) -> None:
        """Charge for containers that are valid, but far larger than the schema asks for.

        Called only if a value is wrong, where filling up a container must not pay; in a right
        document a long list is not a fault.
        """
        for unit, amount in self._stuffing:
            self.failing[unit] = self.failing.get(unit, 0.0) + amount

    def visit(self, node: Node, value: object, path: Path) -> None:
        """Check ``value`` against ``node``; all locations below a mistyped value fail with it."""
        if node.is_false or (node.accepts_type is not None and not node.accepts_type(value)):
            self._note("forbidden" if node.is_false else "type", path)
            self._lose(node.start, node.stop, _one(node))
            if node.start == node.stop:
                self._charge(-1, 0, 1.0)
            return
        for check in node.checks:
            if not check.passes(value):
                self._note(check.keyword, path)
                self._charge(check.unit, check.key, 1.0)
        for same in node.same:
            self.visit(same, value, path)
        for combinator in node.combinators:
            self._visit_combinator(combinator, value, path)
        for search in node.searches:
            self._visit_search(search, value, path)
        if isinstance(value, dict):
            self._visit_members(node, value, path)
        elif isinstance(value, list):
            self._visit_items(node, value, path)

    def _note(self, keyword: str, path: Path) -> None:
        if self._failures is not None:
            self._failures.append(Failure(keyword, path))

    def _charge(self, unit: int, key: int, amount: float) -> None:
        if unit >= 0:
            self.failing[unit] = self.failing.get(unit, 0.0) + amount
        else:
            self.elsewhere[key] = self.elsewhere.get(key, 0.0) + amount

    def _lose(self, start: int, stop: int, amount: float) -> None:
        """Fail all locations of ``amount`` missing values."""
        for unit in range(start, stop):
            self.failing[unit] = self.failing.get(unit, 0.0) + amount

    def _visit_combinator(self, combinator: Combinator, value: object, path: Path) -> None:
        best, num_full = 0.0, 0
        for branch in combinator.branches:
            share = _share(branch, value, path, None)
            best = max(best, share)
            if share >= 1.0:
                num_full += 1
                if combinator.keyword == "anyOf":
                    return
        if best < 1.0:
            is_type = not any(
                branch.types is None or type(value) in branch.types
                for branch in combinator.branches
            )
            self._note("type" if is_type else combinator.keyword, path)
            self._charge(combinator.unit, 0, 1.0 - best)
        elif num_full > 1:
            self._note("oneOf", path)
            self._charge(combinator.unit, 0, 0.5)

    def _visit_search(self, search: Search, value: object, path: Path) -> None:
        if not isinstance(value, search.kind) or not isinstance(value, (dict, list)):
            return
        best = 0.0
        types = search.element.types
        elements: Collection[object] = value.values() if isinstance(value, dict) else value
        for element in elements:
            if types is None or type(element) in types:
                best = max(best, _share(search.element, element, path, None))
                if best >= 1.0:
                    return
        self._note(search.keyword, path)
        self._charge(search.unit, 0, 1.0 - best)

    def _visit_members(self, node: Node, value: dict[str, object], path: Path) -> None:
        for name, unit, stop, child in node.members:
            if name in value:
                self.visit(child, value[name], (*path, name))
            else:
                self._note("required", (*path, name))
                self._lose(unit, stop, _one(node))
        for name, option in node.optional:
            if name in value:
                self._visit_option(option, value[name], (*path, name))
        found = len(value)
        if node.known is not None:
            extra = [name for name in value if name not in node.known]
            found = len(extra)
            self._visit_extra(node, value, extra, path)
        if node.num_members is not None:
            self._visit_count(node.num_members, value, path)
            if isinstance(node.extra, Node):
                self._lose_elements(node, node.extra, node.num_members, len(value), found)

    def _visit_extra(
        self, node: Node, value: dict[str, object], extra: Sequence[str], path: Path
    ) -> None:
        if isinstance(node.extra, int):
            if extra:
                self._note("additionalProperties", (*path, extra[0]))
                self._charge(-1, node.extra, float(len(extra)))
            return
        for name in extra:
            self._visit_element(node.extra, value[name], (*path, name))

    def _visit_items(self, node: Node, value: list[object], path: Path) -> None:
        for position, (schema, item) in enumerate(zip(node.prefix, value, strict=False)):
            self._visit_element(schema, item, (*path, position))
        num_fixed = len(node.prefix)
        if isinstance(node.rest, int):
            if len(value) > num_fixed:
                self._note("additionalItems", (*path, num_fixed))
                self._charge(-1, node.rest, float(len(value) - num_fixed))
        elif node.rest is not None:
            for position in range(num_fixed, len(value)):
                self._visit_element(node.rest, value[position], (*path, position))
        if node.num_items is not None:
            self._visit_count(node.num_items, value, path)
            for missing in node.prefix[len(value) :]:
                if isinstance(missing, Node):
                    self._lose(missing.start, missing.stop, _one(node))
            if isinstance(node.rest, Node):
                found = len(value) - num_fixed
                self._lose_elements(node, node.rest, node.num_items, len(value), found)

    def _lose_elements(
        self, node: Node, element: Node, count: Count, num_all: int, num_found: int
    ) -> None:
        """Fail the elements that are missing or too many; all of them if there are none."""
        wrong = max(count.least - num_all, num_all - count.most, 0.0)
        if not node.num_expected and (num_found <= 0 or wrong >= STUFFED):
            wrong = _ALL
        if wrong:
            self._lose(element.start, element.stop, wrong)
        elif num_all > count.bulk:
            excess = num_all - count.bulk
            is_stuffed = excess >= STUFFED and not node.num_expected
            amount = _ALL if is_stuffed else excess
            self._stuffing += [(unit, amount) for unit in range(element.start, element.stop)]

    def _visit_element(self, schema: Node | Option | int | None, value: object, path: Path) -> None:
        if isinstance(schema, Node):
            self.visit(schema, value, path)
        elif isinstance(schema, Option):
            self._visit_option(schema, value, path)

    def _visit_option(self, option: Option, value: object, path: Path) -> None:
        """Charge an optional value for what it misses of its own schema."""
        share = _share(option.scope, value, path, self._failures)
        if share < 1.0:
            self._charge(-1, option.key, 1.0 - share)

    def _visit_count(self, count: Count, container: Collection[object], path: Path) -> None:
        """Charge for a wrong number of elements, in proportion to the error."""
        found = len(container)
        if found < count.least:
            self._note(count.keyword, path)
            self._charge(count.unit, count.key, 1.0 - found / count.least)
        elif found > count.most:
            self._note(count.keyword, path)
            self._charge(count.unit, count.key, _excess(found, count.most))
        elif found > count.bulk:
            self._stuffing.append((count.unit, _excess(found, count.bulk)))


def _excess(found: int, most: float) -> float:
    """Return how far a count exceeds a bound, from 0 to 1 at ``STUFFED`` too many."""
    stuffed = most / (most + STUFFED)
    return min((1.0 - most / found) / (1.0 - stuffed), 1.0)
