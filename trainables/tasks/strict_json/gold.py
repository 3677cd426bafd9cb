"""Gold documents: a plausible answer to every generated schema.

They are used to test the rewards, to warm up the tiny model and for supervised training. They
support only schemas of ``schemas``: keys must come from the vocabulary.
"""

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from trainables.tasks.strict_json.schemas import Draft
from trainables.tasks.strict_json.vocabulary import (
    FIELDS,
    FREE_VALUES,
    LISTS,
    MAPS,
    PATTERNS,
    Field,
)

__all__ = ["gold_document", "gold_text"]

NULL_FRAC = 0.25
"""Share of nullable values that are null."""
OPTIONAL_FRAC = 0.5
"""Share of optional keys that are present."""
INDENTED_FRAC = 0.25
"""Share of texts that are indented instead of on one line."""

_CAPITALS = "ABCDEFGHKLMNPRSTVWXZ"
_SAMPLES = {pattern.regex: pattern.sample for pattern in PATTERNS}
_FREE_KEYS = ("first", "second", "third", "fourth", "fifth")


def gold_text(draft: Draft, rng: Random) -> str:
    """Return a gold document as JSON text, mostly on one line, sometimes indented."""
    document = gold_document(draft, rng)
    return json.dumps(document, indent=2 if rng.random() < INDENTED_FRAC else None)


def gold_document(draft: Draft, rng: Random) -> Any:
    """Return a document that conforms to the draft's schema."""
    return _value(draft.schema, draft.root_key, rng)


def _value(schema: Mapping[str, Any], key: str, rng: Random) -> Any:
    if "properties" in schema:
        return _record(schema, rng)
    if schema["type"] == "array":
        return _list(schema, key, rng)
    if schema["type"] == "object":
        return _map(schema, key, rng)
    return _leaf(schema, FIELDS.get(key), rng)


def _record(schema: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    required = frozenset(schema["required"])
    return {
        key: _value(member, key, rng)
        for key, member in schema["properties"].items()
        if key in required or rng.random() < OPTIONAL_FRAC
    }


def _list(schema: Mapping[str, Any], key: str, rng: Random) -> list[Any]:
    size, items = _size(schema, "Items", rng), schema["items"]
    if items["type"] == "object":
        return [_record(items, rng) for _ in range(size)]
    values: list[Any] = []
    while len(values) < size:
        value = _leaf(items, LISTS.get(key), rng)
        if value not in values or not schema.get("uniqueItems"):
            values.append(value)
    return values


def _map(schema: Mapping[str, Any], key: str, rng: Random) -> dict[str, Any]:
    size, names = _size(schema, "Properties", rng), MAPS.get(key, _FREE_KEYS)
    values = schema["additionalProperties"]
    return {name: _leaf(values, None, rng) for name in rng.sample(names, size)}


def _size(schema: Mapping[str, Any], noun: str, rng: Random) -> int:
    low, high = schema.get(f"min{noun}"), schema.get(f"max{noun}")
    if low is None:
        return rng.randint(1, min(3, high)) if high is not None else rng.randint(1, 3)
    return rng.randint(low, high if high is not None else low + 1)


def _leaf(schema: Mapping[str, Any], field: Field | None, rng: Random) -> Any:
    name = schema["type"]
    if isinstance(name, list):
        if rng.random() < NULL_FRAC:
            return None
        name = name[0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "pattern" in schema:
        return _fill(_SAMPLES[schema["pattern"]], rng)
    if "format" in schema:
        return _FORMATTED[schema["format"]](rng)
    if name == "boolean":
        return rng.random() < 0.5
    return _bounded(schema, name, field or FREE_VALUES[name], rng)


def _bounded(schema: Mapping[str, Any], name: str, field: Field, rng: Random) -> str | int | float:
    if name == "string":
        low, high = schema.get("minLength", 0), schema.get("maxLength", 1000)
        return str(rng.choice([text for text in field.values if low <= len(str(text)) <= high]))
    low = schema.get("minimum", schema.get("exclusiveMinimum", field.low))
    low += "exclusiveMinimum" in schema
    high = schema.get("maximum", field.high)
    step = schema.get("multipleOf", 1)
    whole = rng.randrange(-(-low // step) * step, high + 1, step)
    return whole + rng.choice((0, 0.5)) if name == "number" and whole < high else whole


def _fill(sample: str, rng: Random) -> str:
    pools = {"A": _CAPITALS, "0": "0123456789"}
    return "".join(rng.choice(pools.get(sign, sign)) for sign in sample)


def _date(rng: Random) -> str:
    return f"{rng.randint(2020, 2029)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def _email(rng: Random) -> str:
    return f"{rng.choice(('ana', 'tom', 'mei', 'omar'))}@example.{rng.choice(('com', 'org'))}"


def _uri(rng: Random) -> str:
    return f"https://example.{rng.choice(('com', 'org'))}/{rng.choice(('home', 'shop', 'map'))}"


_FORMATTED = {"date": _date, "email": _email, "uri": _uri}
