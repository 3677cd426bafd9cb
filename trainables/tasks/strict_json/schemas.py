"""Turns a shape into a schema: adds names, literals and numbers from the vocabulary.

Every bound is chosen so that the vocabulary has values within it, so that each schema can be met.
Schemas are of draft 2020-12.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from trainables.tasks.strict_json.scenes import (
    COLLECTIONS,
    GENERAL,
    PARTS,
    SUBJECTS,
    TOPICS,
)
from trainables.tasks.strict_json.shapes import (
    Container,
    Count,
    Leaf,
    Limit,
    ListOf,
    MapOf,
    Record,
    Shape,
)
from trainables.tasks.strict_json.vocabulary import (
    FIELDS,
    FREE_VALUES,
    LISTS,
    MAPS,
    PATTERNS,
    Field,
    Kind,
)

__all__ = ["Draft", "realize"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_LIST_ITEMS = 5
MAX_RECORDS = 4
"""Most items of objects with two plain keys; arrays of larger objects have one item less."""

_FORMATS = {Kind.DATE: "date", Kind.EMAIL: "email", Kind.URI: "uri"}
_TYPES = {
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.CONST_INTEGER: "integer",
    Kind.CONST_BOOLEAN: "boolean",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A schema, and what it describes."""

    schema: Mapping[str, Any]
    subject: str
    """A noun phrase for the described thing, e.g. ``a book`` or ``the tags of a photo``."""
    root_key: str = ""
    """The vocabulary key whose values fill a root without named keys."""


def realize(shape: Container, rng: Random) -> Draft:
    """Fill a shape with a topic, names, literals and numbers."""
    return _Realizer(rng).draft(shape)


class _Realizer:
    """Fills one schema, in which no two containers have the same name."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def draft(self, shape: Container) -> Draft:
        topic = self._rng.choice(TOPICS)
        head = {"$schema": DIALECT}
        if isinstance(shape, Record):
            one = f"{_article(topic.noun)} {topic.noun}"
            return Draft({**head, **self._record(shape, topic.keys)}, one)
        if isinstance(shape, ListOf) and isinstance(shape.item, Record):
            schema = self._records(shape, shape.item, topic.keys)
            return Draft({**head, **schema}, topic.plural)
        key = self._container_key(shape)
        subject = self._rng.choice(SUBJECTS[key])
        return Draft({**head, **self._keyed(shape, key)}, subject, key)

    def _record(self, shape: Record, suiting: Sequence[str]) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required = []
        own: set[str] = set()
        for member in shape.members:
            key = self._key(member.shape, suiting, own)
            own.add(key)
            properties[key] = self._keyed(member.shape, key)
            if not member.is_optional:
                required.append(key)
        closing = {"additionalProperties": False} if shape.is_closed else {}
        return {"type": "object", "properties": properties, "required": required, **closing}

    def _key(self, shape: Shape, suiting: Sequence[str], own: set[str]) -> str:
        if not isinstance(shape, Leaf):
            return self._container_key(shape)
        taken = own | self._taken
        for names in (suiting, GENERAL, FIELDS):
            free = [name for name in names if _fits(name, shape.kind) and name not in taken]
            if free:
                return self._rng.choice(free)
        raise AssertionError(f"the vocabulary has too few keys of kind {shape.kind}")

    def _container_key(self, shape: Container) -> str:
        names: Iterable[str]
        if isinstance(shape, MapOf):
            names = MAPS
        elif isinstance(shape, Record):
            names = PARTS
        elif isinstance(shape.item, Record):
            names = COLLECTIONS
        else:
            kind = shape.item.kind
            names = (name for name, field in LISTS.items() if field.kind is kind)
        key = self._rng.choice([name for name in names if name not in self._taken])
        self._taken.add(key)
        return key

    def _keyed(self, shape: Shape, key: str) -> dict[str, Any]:
        if isinstance(shape, Record):
            return self._record(shape, PARTS[key])
        if isinstance(shape, MapOf):
            return self._map(shape)
        if isinstance(shape, Leaf):
            return self._leaf(shape, FIELDS[key])
        if isinstance(shape.item, Record):
            return self._records(shape, shape.item, COLLECTIONS[key])
        return self._values(shape, shape.item, LISTS[key])

    def _records(self, shape: ListOf, item: Record, suiting: Sequence[str]) -> dict[str, Any]:
        is_small = len(item.members) == 2 and all(
            isinstance(member.shape, Leaf) for member in item.members
        )
        count = self._count(shape.count, MAX_RECORDS if is_small else MAX_RECORDS - 1, "Items")
        return {"type": "array", "items": self._record(item, suiting), **count}

    def _values(self, shape: ListOf, item: Leaf, field: Field) -> dict[str, Any]:
        items = self._leaf(item, field, num_choices=3 if shape.is_unique else 2)
        most = MAX_LIST_ITEMS
        if shape.is_unique:
            most = len(items.get("enum", range(MAX_LIST_ITEMS)))
        unique = {"uniqueItems": True} if shape.is_unique else {}
        return {
            "type": "array",
            "items": items,
            **self._count(shape.count, most, "Items"),
            **unique,
        }

    def _map(self, shape: MapOf) -> dict[str, Any]:
        kind = shape.value.kind
        field = FREE_VALUES.get(_TYPES.get(kind, "string"), FREE_VALUES["string"])
        if kind is Kind.ENUM:
            field = self._rng.choice([field for field in LISTS.values() if field.kind is kind])
        values = self._leaf(shape.value, field)
        count = self._count(shape.count, 4, "Properties")
        return {"type": "object", "additionalProperties": values, **count}

    def _count(self, count: Count, most: int, noun: str) -> dict[str, int]:
        low = self._rng.randint(2, most - 1)
        high = self._rng.randint(low + 1, most)
        exact = self._rng.randint(2, most)
        match count:
            case Count.ANY:
                return {}
            case Count.EXACT:
                return {f"min{noun}": exact, f"max{noun}": exact}
            case Count.LOW:
                return {f"min{noun}": low}
            case Count.HIGH:
                return {f"max{noun}": high}
            case Count.RANGE:
                return {f"min{noun}": low, f"max{noun}": high}

    def _leaf(self, shape: Leaf, field: Field, *, num_choices: int = 2) -> dict[str, Any]:
        """Fill a single value; an enum gets at least ``num_choices`` values."""
        name = _TYPES.get(shape.kind, "string")
        match shape.kind:
            case Kind.ENUM:
                size = self._rng.randint(num_choices, len(field.values))
                extra: dict[str, Any] = {"enum": self._rng.sample(field.values, size)}
            case Kind.CONST_TEXT | Kind.CONST_INTEGER | Kind.CONST_BOOLEAN:
                extra = {"const": self._rng.choice(field.values)}
            case Kind.CODE:
                extra = {"pattern": self._rng.choice(PATTERNS).regex}
            case Kind.TEXT:
                extra = self._text_limit(shape.limit, field)
            case Kind.INTEGER | Kind.NUMBER:
                extra = self._number_limit(shape.limit, field)
            case kind:
                extra = {"format": _FORMATS[kind]} if kind in _FORMATS else {}
        return {"type": [name, "null"] if shape.is_nullable else name, **extra}

    def _text_limit(self, limit: Limit, field: Field) -> dict[str, Any]:
        lengths = [len(str(value)) for value in field.values]
        if limit is Limit.LOW:
            return {"minLength": self._rng.randint(2, max(2, min(lengths)))}
        if limit is Limit.HIGH:
            next_ten = 10 * math.ceil(max(lengths) / 10)
            return {"maxLength": next_ten + self._rng.choice((0, 5, 10))}
        return {}

    def _number_limit(self, limit: Limit, field: Field) -> dict[str, Any]:
        span = field.high - field.low
        low = field.low + self._rng.randint(0, span // 4)
        high = field.high - self._rng.randint(0, span // 4)
        match limit:
            case Limit.LOW:
                return {"minimum": low}
            case Limit.HIGH:
                return {"maximum": high}
            case Limit.RANGE:
                return {"minimum": low, "maximum": high}
            case Limit.ABOVE:
                return {"exclusiveMinimum": low}
            case Limit.MULTIPLE:
                return {"multipleOf": self._rng.choice([2] + [n for n in (5, 10) if 8 * n <= span])}
            case Limit.NONE:
                return {}


def _fits(key: str, kind: Kind) -> bool:
    return key in FIELDS and FIELDS[key].kind is kind


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
