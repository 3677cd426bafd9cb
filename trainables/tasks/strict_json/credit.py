"""Partial credit for a document that does not conform.

The share of the schema's required locations that the document gets right, against all of
them plus what it violates elsewhere. Three properties make it safe to train on. It earns
nothing by what it leaves out: below a missing or mistyped container everything fails, and
prohibitions pay nothing when kept. It earns nothing by bulk: a location counts once
however many values it meets, and only failing values move its credit. It still tells wrong
answers apart, since every further failing value or location costs.

A document of the wrong top-level type fails everywhere by these rules. The two common
reasons, the answer wrapped once too often and one element without its list, earn a quarter
of what the answer inside would, so that a model that makes them can learn.
"""

from collections.abc import Iterable, Iterator, Sequence

from trainables.tasks.strict_json.locations import Path, Plan, Span
from trainables.tasks.strict_json.validation import CompiledSchema, ValidationError

__all__ = ["MAX_WRONG_CREDIT", "schema_credit"]

MAX_WRONG_CREDIT = 0.95
"""What a document can earn at most without conforming."""
REWRAPPED_FRAC = 0.25
"""The part of its credit that an answer in the wrong outermost container keeps."""

_COUNTS = frozenset({"minItems", "maxItems", "minProperties", "maxProperties"})
_ALL = float("inf")


def schema_credit(
    compiled: CompiledSchema, document: object, errors: Sequence[ValidationError]
) -> float:
    """Return the credit of a wrong document, in [0, 0.95], from all that it violates."""
    share = _Grader(compiled).share(compiled.plan, document, errors)
    if not share:
        share = REWRAPPED_FRAC * max(
            (_rewrapped_share(compiled, answer) for answer in _rewrapped(compiled, document)),
            default=0.0,
        )
    return MAX_WRONG_CREDIT * min(share, 1.0)


def _rewrapped(compiled: CompiledSchema, document: object) -> Iterator[object]:
    """Yield what the answer might have been before it was wrapped or unwrapped."""
    if isinstance(document, dict) and len(document) == 1:
        yield from document.values()
    if isinstance(document, list) and len(document) == 1:
        yield document[0]
    if compiled.wants_array and not isinstance(document, list):
        yield [document]


def _rewrapped_share(compiled: CompiledSchema, answer: object) -> float:
    if compiled.is_valid(answer):
        return 1.0
    return _Grader(compiled).share(compiled.plan, answer, compiled.errors(answer))


class _Grader:
    """Grades values against the plans of one schema."""

    def __init__(self, compiled: CompiledSchema) -> None:
        self._compiled = compiled

    def share(self, plan: Plan, value: object, errors: Sequence[ValidationError]) -> float:
        """Return the earned weight over that of all locations and of violations elsewhere.

        A single value passes or fails. A location of many values has credit
        1/(1 + failing): each failing value stands against one passing value, however many
        there are, because a plain share could be raised by adding valid items next to the
        wrong one. Without errors, where the validator could not list them, it is 0.
        """
        if not errors:
            return 0.0
        failing = [0.0] * len(plan.weights)
        elsewhere: dict[Path, float] = {}
        for error in errors:
            self._charge(plan, value, error, failing, elsewhere)
        earned = sum(map(_credit, plan.weights, failing, plan.is_many))
        total = sum(plan.weights)
        if not total:
            earned = total = 1.0
        return earned / (total + sum(amount / (1.0 + amount) for amount in elsewhere.values()))

    def _charge(
        self,
        plan: Plan,
        value: object,
        error: ValidationError,
        failing: list[float],
        elsewhere: dict[Path, float],
    ) -> None:
        """Add what one error makes fail: to its locations, or else to the rest."""
        name = error.kind.name
        path: Path = tuple(error.evaluation_path)
        if name == "required":
            path = (*path, error.kind.property)
        span = plan.spans.get(path)
        if span is not None:
            _fail_span(span, failing)
            return
        if name in _COUNTS:
            amount = _charge_count(plan, value, error, path, failing)
        elif path in plan.branches:
            amount = 1.0 - self._best_branch(plan.branches[path], value, error)
        elif path in plan.searches:
            amount = 1.0 - self._best_element(plan, value, error, path)
        else:
            # One error names all extra keys; everything else is one error a value.
            amount = float(len(getattr(error.kind, "unexpected", "?")))
        unit = plan.units.get(path)
        if unit is None:
            elsewhere[path] = elsewhere.get(path, 0.0) + amount
        else:
            failing[unit] += amount

    def _best_branch(
        self, branches: Sequence[Plan], value: object, error: ValidationError
    ) -> float:
        """Return the share of the best branch; one half where several of ``oneOf`` hold."""
        shares = (
            self.share(branch, value, nested) if nested else 0.5
            for branch, nested in zip(branches, error.kind.context, strict=True)
        )
        return min(max(shares, default=0.0), MAX_WRONG_CREDIT)

    def _best_element(self, plan: Plan, value: object, error: ValidationError, path: Path) -> float:
        """Return the share of the element that comes nearest to what was asked for."""
        search = plan.searches[path]
        container = _value_at(value, error)
        elements = container.values() if isinstance(container, dict) else container
        if not search.plan.weights or not isinstance(elements, Iterable):
            return 0.0
        shares = (
            self.share(search.plan, element, self._compiled.element_errors(search.pointer, element))
            for element in elements
            if search.takes_scalars or isinstance(element, (dict, list))
        )
        return min(max(shares, default=0.0), MAX_WRONG_CREDIT)


def _credit(weight: float, failing: float, is_many: bool) -> float:
    if not failing:
        return weight
    return weight / (1.0 + failing) if is_many else weight * max(1.0 - failing, 0.0)


def _fail_span(span: Span, failing: list[float]) -> None:
    amount = 1.0 if span.is_many else _ALL
    for unit in range(span.start, span.stop):
        failing[unit] += amount


def _charge_count(
    plan: Plan, value: object, error: ValidationError, path: Path, failing: list[float]
) -> float:
    """Charge what missing elements should hold; return how far the count is off, in [0, 1]."""
    container = _value_at(value, error)
    assert isinstance(container, (dict, list)), "only containers have counts"
    found = len(container)
    limit = error.kind.limit
    distance = 1.0 - min(found, limit) / max(found, limit)
    named = plan.named.get(path)
    if named is not None:
        found = sum(name not in named for name in container)
    for num_elements, span in plan.elements.get(path, ()):
        if found <= num_elements:
            _fail_span(span, failing)
    return distance


def _value_at(value: object, error: ValidationError) -> object:
    """Return the value that the error is about."""
    for token in error.instance_path:
        value = value[token]  # type: ignore[index]
    return value
