"""The schema locations that give credit: reached from the root through required members.

A plan depends on the schema alone, never on a document, so a document cannot add to what
is counted by being larger. Optional members, extra keys, prohibitions and conditions are
not in it: they cost when violated and earn nothing when kept. References are followed
within the document by JSON pointer, one level into recursion; what lies behind any
other reference counts as optional.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

__all__ = ["Path", "Plan", "Search", "Span", "build_plan"]

Path = tuple[str | int, ...]
"""Where a keyword stands, references included, as the validator's errors name it."""

MAX_LOCATIONS = 2_000
"""A plan stops growing here: references can multiply a small schema without bound."""

MAX_REFERENCES = 20
"""Steps of one look at what types a schema allows."""

_VALUE_KEYWORDS = (
    "type",
    "enum",
    "const",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
)
_REF_ALONE = ("draft-03", "draft-04", "draft-06", "draft-07")
"""Drafts in which a reference hides the keywords beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A run of locations that fall together, with the container that holds them."""

    start: int
    stop: int
    is_many: bool
    """The container itself can occur more than once in a document."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """All locations of a schema, or of one branch of a combinator."""

    weights: list[float] = field(default_factory=list)
    """How much each location counts: 1, or for a combinator what its largest branch holds."""
    is_many: list[bool] = field(default_factory=list)
    """Whether the location can meet several values of one document."""
    units: dict[Path, int] = field(default_factory=dict)
    """The location that a violation at this path concerns."""
    spans: dict[Path, Span] = field(default_factory=dict)
    """What fails together when the path is violated: all below a missing or mistyped value."""
    elements: dict[Path, tuple[tuple[int, Span], ...]] = field(default_factory=dict)
    """By count keyword: what is lost where the container has only so many elements or fewer."""
    named: dict[Path, frozenset[str]] = field(default_factory=dict)
    """By count keyword of an object: the members that do not count as its elements."""
    branches: dict[Path, list["Plan"]] = field(default_factory=dict)
    """The branches of each combinator among the locations."""
    searches: dict[Path, "Search"] = field(default_factory=dict)
    """The locations that ask for one good element somewhere in a container."""

    @property
    def total(self) -> float:
        """The weight of all locations together."""
        return sum(self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """``contains``, or its counterpart for members: not all members fail a schema."""

    pointer: str
    """The element's schema, as a JSON pointer in URI form."""
    plan: Plan
    """Its locations; paths start at the element's schema."""
    takes_scalars: bool
    """Whether anything but an array or object can come near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the builder stands."""

    path: Path = ()
    pointer: str = "#"
    """The schema that stands here, references resolved."""
    is_many: bool = False
    references: tuple[str, ...] = ("#",)

    def step(self, *tokens: str | int, is_many: bool = False) -> "_Place":
        return _Place(
            path=self.path + tokens,
            pointer=self.pointer + "".join(f"/{_escape(str(token))}" for token in tokens),
            is_many=self.is_many or is_many,
            references=self.references,
        )

    def follow(self, reference: str) -> "_Place":
        return _Place(
            path=(*self.path, "$ref"),
            pointer=reference,
            is_many=self.is_many,
            references=(*self.references, reference),
        )


def build_plan(schema: object) -> Plan:
    """List the locations of ``schema``."""
    draft = schema.get("$schema", "") if isinstance(schema, Mapping) else ""
    builder = _Builder(schema, hides_siblings=any(name in str(draft) for name in _REF_ALONE))
    return builder.build(schema, _Place())


class _Builder:
    """Walks one schema; the budget is shared by the plans of its branches."""

    def __init__(self, root: object, *, hides_siblings: bool) -> None:
        self._root = root
        self._hides_siblings = hides_siblings
        self._budget = MAX_LOCATIONS

    def build(self, schema: object, place: _Place) -> Plan:
        plan = Plan()
        self._walk(plan, schema, place)
        return plan

    def _walk(self, plan: Plan, schema: object, place: _Place) -> None:
        """Add every location of ``schema``, which stands at ``place``."""
        if not isinstance(schema, Mapping) or self._budget <= 0:
            return
        start = len(plan.weights)
        if "$ref" in schema:
            self._follow(plan, schema["$ref"], place)
            if self._hides_siblings:
                return
        for keyword in _VALUE_KEYWORDS:
            if keyword in schema and not _is_draft_04_flag(keyword, schema[keyword]):
                self._add(plan, place.step(keyword))
        for index, branch in enumerate(_sequence(schema.get("allOf"))):
            self._walk(plan, branch, place.step("allOf", index))
        for keyword in ("anyOf", "oneOf"):
            self._add_combinator(plan, schema, keyword, place)
        self._add_searches(plan, schema, place)
        self._add_members(plan, schema, place)
        self._add_elements(plan, schema, place)
        plan.spans[(*place.path, "type")] = Span(
            start=start, stop=len(plan.weights), is_many=place.is_many
        )

    def _add(self, plan: Plan, place: _Place, *, weight: float = 1.0) -> int:
        self._budget -= 1
        plan.units[place.path] = len(plan.weights)
        plan.weights.append(weight)
        plan.is_many.append(place.is_many)
        return len(plan.weights) - 1

    def _follow(self, plan: Plan, reference: object, place: _Place) -> None:
        if not isinstance(reference, str) or place.references.count(reference) > 1:
            return
        self._walk(plan, _resolve(self._root, reference), place.follow(reference))

    def _add_combinator(
        self, plan: Plan, schema: Mapping[str, object], keyword: str, place: _Place
    ) -> None:
        branches = _sequence(schema.get(keyword))
        if not branches:
            return
        plans = [
            self.build(branch, place.step(keyword, index)) for index, branch in enumerate(branches)
        ]
        heaviest = max(branch.total for branch in plans)
        self._add(plan, place.step(keyword), weight=max(heaviest, 1.0))
        plan.branches[(*place.path, keyword)] = plans

    def _add_searches(self, plan: Plan, schema: Mapping[str, object], place: _Place) -> None:
        """Add ``contains``, and ``not`` where it says that not every element fails a schema."""
        if "contains" in schema:
            self._add_search(plan, schema["contains"], place, ("contains",))
        negated = _mapping(schema.get("not"))
        for keyword in ("additionalProperties", "items"):
            inner = negated.get(keyword)
            if len(negated) == 1 and isinstance(inner, Mapping) and set(inner) == {"not"}:
                self._add_search(plan, inner["not"], place, ("not", keyword, "not"))

    def _add_search(self, plan: Plan, schema: object, place: _Place, tokens: Path) -> None:
        below = place.step(*tokens)
        element = self.build(schema, _Place(pointer=below.pointer, references=place.references))
        key: Path = (*place.path, tokens[0])
        self._add(plan, place.step(tokens[0]), weight=max(element.total, 1.0))
        plan.searches[key] = Search(
            pointer=below.pointer,
            plan=element,
            takes_scalars=self._takes_scalars(schema, num_references=0),
        )

    def _takes_scalars(self, schema: object, *, num_references: int) -> bool:
        """Whether a schema leaves room for a value that is neither array nor object."""
        if not isinstance(schema, Mapping) or num_references > MAX_REFERENCES:
            return True
        types = schema.get("type")
        if types is not None:
            return not {"array", "object"}.issuperset([types] if isinstance(types, str) else types)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = _resolve(self._root, reference)
            return self._takes_scalars(target, num_references=num_references + 1)
        branches = _sequence(schema.get("anyOf")) or _sequence(schema.get("oneOf")) or (True,)
        return any(
            self._takes_scalars(branch, num_references=num_references + 1) for branch in branches
        )

    def _add_members(self, plan: Plan, schema: Mapping[str, object], place: _Place) -> None:
        """Add the required members of an object, each with all that it must hold."""
        properties = _mapping(schema.get("properties"))
        for name in dict.fromkeys(_sequence(schema.get("required"))):
            if not isinstance(name, str):
                continue
            start = self._add(plan, place.step("required", name))
            self._walk(plan, properties.get(name), place.step("properties", name))
            plan.spans[(*place.path, "required", name)] = Span(
                start=start, stop=len(plan.weights), is_many=place.is_many
            )
        least = self._add_count(plan, schema, "minProperties", "maxProperties", place)
        if least > len(properties):
            start = len(plan.weights)
            more = place.step("additionalProperties", is_many=True)
            self._walk(plan, schema.get("additionalProperties"), more)
            self._add_loss(plan, "minProperties", 0, start, place)
            plan.named[(*place.path, "minProperties")] = frozenset(properties)

    def _add_elements(self, plan: Plan, schema: Mapping[str, object], place: _Place) -> None:
        """Add what the elements must be that an array must have."""
        least = self._add_count(plan, schema, "minItems", "maxItems", place)
        tuple_keyword = "items" if isinstance(schema.get("items"), list) else "prefixItems"
        prefix = _sequence(schema.get(tuple_keyword))
        for position, element in enumerate(prefix[:least]):
            start = len(plan.weights)
            self._walk(plan, element, place.step(tuple_keyword, position))
            self._add_loss(plan, "minItems", position, start, place)
        if least > len(prefix):
            start = len(plan.weights)
            rest = "additionalItems" if tuple_keyword == "items" else "items"
            self._walk(plan, schema.get(rest), place.step(rest, is_many=True))
            self._add_loss(plan, "minItems", len(prefix), start, place)

    def _add_count(
        self, plan: Plan, schema: Mapping[str, object], low: str, high: str, place: _Place
    ) -> int:
        """Add the number of elements as one location, both bounds together; return the lower.

        Two locations would pay for stuffing: too few would become too many for free.
        """
        least = schema.get(low)
        if not isinstance(least, (int, float)) or least < 1:
            return 0
        index = self._add(plan, place.step(low))
        if high in schema:
            plan.units[(*place.path, high)] = index
        return int(least)

    def _add_loss(
        self, plan: Plan, keyword: str, num_elements: int, start: int, place: _Place
    ) -> None:
        """Note that from ``start`` on all is lost where there are ``num_elements`` or fewer."""
        span = Span(start=start, stop=len(plan.weights), is_many=place.is_many)
        key: Path = (*place.path, keyword)
        plan.elements[key] = (*plan.elements.get(key, ()), (num_elements, span))


def _is_draft_04_flag(keyword: str, value: object) -> bool:
    """Whether this is ``exclusiveMinimum: true``, which only qualifies ``minimum``."""
    return keyword.startswith("exclusive") and isinstance(value, bool)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _escape(token: str) -> str:
    """Write a token as part of a JSON pointer in URI form."""
    return quote(token.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@")


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _resolve(root: object, reference: str) -> object:
    """Return what a pointer within the document names; None for any other reference."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    target = root
    for token in _tokens(reference[1:]):
        if isinstance(target, Mapping) and token in target:
            target = target[token]
        elif isinstance(target, list) and token.isdigit() and int(token) < len(target):
            target = target[int(token)]
        else:
            return None
    return target


def _tokens(pointer: str) -> Iterator[str]:
    for token in pointer.split("/")[1:]:
        yield unquote(token).replace("~1", "/").replace("~0", "~")
