"""From a shape to a schema: names, literals and numbers from the vocabulary.

Every bound is chosen so that the vocabulary holds values inside it: nothing that a
schema asks for is impossible. Draft 2020-12.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

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
    COLLECTIONS,
    FIELDS,
    FREE_VALUES,
    LISTS,
    MAPS,
    PARTS,
    PATTERNS,
    TOPICS,
    Field,
    Kind,
    Scene,
)

__all__ = ["Draft", "realize"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_LIST_ITEMS = 5
MAX_RECORDS = 4
"""For objects of two plain keys; larger objects come at most in threes."""

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
    """A schema and what it is about."""

    schema: Mapping[str, Any]
    subject: str
    """A noun phrase: what the document describes, e.g. ``a book`` or ``the tags of a book``."""
    root_key: str = ""
    """The vocabulary key whose values fill a root that has no key of its own."""


def realize(shape: Container, rng: Random) -> Draft:
    """Fill a shape with a topic, names, literals and numbers."""
    return _Realizer(rng).draft(shape)


class _Realizer:
    """Keeps the names of containers apart while one schema is filled."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def draft(self, shape: Container) -> Draft:
        topic = self._rng.choice(TOPICS)
        one = f"{_article(topic.noun)} {topic.noun}"
        head = {"$schema": DIALECT}
        if isinstance(shape, Record):
            return Draft({**head, **self._record(shape, topic)}, one)
        if isinstance(shape, ListOf) and isinstance(shape.item, Record):
            return Draft({**head, **self._list(shape, topic, None)}, topic.plural)
        key = self._container_key(shape)
        subject = f"the {key} of {one}"
        return Draft({**head, **self._keyed(shape, key)}, subject, key)

    def _record(self, shape: Record, scene: Scene) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required = []
        own: set[str] = set()
        for member in shape.members:
            key = self._key(member.shape, scene, own)
            own.add(key)
            properties[key] = self._keyed(member.shape, key)
            if not member.is_optional:
                required.append(key)
        closing = {"additionalProperties": False} if shape.is_closed else {}
        return {"type": "object", "properties": properties, "required": required, **closing}

    def _key(self, shape: Shape, scene: Scene, own: set[str]) -> str:
        if not isinstance(shape, Leaf):
            return self._container_key(shape)
        taken = own | self._taken
        suiting = [key for key in scene.keys if _fits(key, shape.kind) and key not in taken]
        others = [key for key in FIELDS if _fits(key, shape.kind) and key not in taken]
        return self._rng.choice(suiting or others)

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
        if isinstance(shape, ListOf):
            return self._list(shape, COLLECTIONS.get(key), LISTS.get(key))
        if isinstance(shape, MapOf):
            return self._map(shape)
        return self._leaf(shape, FIELDS[key])

    def _list(self, shape: ListOf, scene: Scene | None, field: Field | None) -> dict[str, Any]:
        if isinstance(shape.item, Record):
            assert scene is not None
            is_small = all(isinstance(member.shape, Leaf) for member in shape.item.members[:3])
            most = MAX_RECORDS if is_small and len(shape.item.members) == 2 else MAX_RECORDS - 1
            items = self._record(shape.item, scene)
        else:
            assert field is not None
            most, items = MAX_LIST_ITEMS, self._leaf(shape.item, field)
            if shape.is_unique and "enum" in items:
                most = len(items["enum"])
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
        low = self._rng.randint(2, max(2, most - 1))
        high = self._rng.randint(min(low + 1, most), most)
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
                return {f"min{noun}": low, f"max{noun}": max(high, low + 1)}

    def _leaf(self, shape: Leaf, field: Field) -> dict[str, Any]:
        name = _TYPES.get(shape.kind, "string")
        match shape.kind:
            case Kind.ENUM:
                chosen = self._rng.sample(field.values, self._rng.randint(2, len(field.values)))
                extra: dict[str, Any] = {"enum": chosen}
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
            return {
                "maxLength": max(10, -(-max(lengths) // 10) * 10) + self._rng.choice((0, 5, 10))
            }
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
