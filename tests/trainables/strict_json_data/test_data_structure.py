"""Skeletons, difficulty and constructs: read from the schema's structure alone."""

import json
from random import Random
from typing import Any

import pytest

from trainables.tasks.strict_json.measure import (
    DIFFICULTIES,
    constructs_of,
    difficulty_of,
    measure,
)
from trainables.tasks.strict_json.schemas import realize
from trainables.tasks.strict_json.shapes import draw_shape
from trainables.tasks.strict_json.skeleton import family_of, skeleton

PERSON: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
}


def _with(**changes: Any) -> dict[str, Any]:
    return {**PERSON, **changes}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            _with(
                properties={"pages": {"type": "integer", "minimum": 3}, "title": {"type": "string"}}
            ),
            id="names-numbers-and-order",
        ),
        pytest.param(_with(title="A person", description="x"), id="annotations"),
        pytest.param(_with(required=["name"]), id="which-keys-are-required"),
        pytest.param({key: PERSON[key] for key in reversed(PERSON)}, id="keyword-order"),
    ],
)
def test_skeleton_ignores(other: dict[str, Any]) -> None:
    assert skeleton(other) == skeleton(PERSON)
    assert family_of(other) == family_of(PERSON)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(_with(additionalProperties=False), id="closed"),
        pytest.param(
            _with(properties={**PERSON["properties"], "id": {"type": "string"}}), id="one-more-key"
        ),
        pytest.param(
            _with(properties={"name": {"type": "number"}, "age": PERSON["properties"]["age"]}),
            id="type",
        ),
        pytest.param(
            _with(properties={"name": {"type": "string"}, "age": {"type": "integer"}}), id="limit"
        ),
        pytest.param({"type": "array", "items": PERSON}, id="level"),
    ],
)
def test_skeleton_tells_apart(other: dict[str, Any]) -> None:
    assert skeleton(other) != skeleton(PERSON)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"enum": ["a"]}, {"enum": [1, 2, 3]}, id="enum"),
        pytest.param({"const": True}, {"const": "x"}, id="const"),
        pytest.param({"format": "date"}, {"format": "email"}, id="format"),
        pytest.param({"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, id="reference"),
        pytest.param({"type": ["string", "null"]}, {"type": ["null", "string"]}, id="type-order"),
        pytest.param(
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
            id="branch-order",
        ),
        pytest.param(
            {"properties": {"enum": {"type": "string"}}},
            {"properties": {"type": {"type": "string"}}},
            id="keys-named-like-keywords",
        ),
    ],
)
def test_literals_names_and_order_are_erased(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize("aim", DIFFICULTIES)
def test_every_filling_of_a_shape_is_of_one_family_and_difficulty(aim: Any) -> None:
    rng = Random(11)
    for _ in range(300):
        shape = draw_shape(rng, aim)
        schemas = [realize(shape, rng).schema for _ in range(3)]
        assert len({family_of(schema) for schema in schemas}) == 1
        assert len({measure(schema) for schema in schemas}) == 1
        assert len({constructs_of(schema) for schema in schemas}) == 1


@pytest.mark.parametrize("aim", DIFFICULTIES)
def test_grammar_fills_the_tier_it_aims_at(aim: Any) -> None:
    rng = Random(5)
    hits = sum(difficulty_of(realize(draw_shape(rng, aim), rng).schema) == aim for _ in range(400))
    assert hits > 280


NESTED = {
    "type": "array",
    "minItems": 2,
    "maxItems": 2,
    "items": {
        "type": "object",
        "required": ["kind"],
        "additionalProperties": False,
        "properties": {
            "kind": {"type": "string", "enum": ["a", "b"]},
            "note": {"type": ["string", "null"], "maxLength": 9},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        },
    },
}


def test_measure_counts_what_a_schema_asks_for() -> None:
    found = measure(NESTED)
    assert (found.depth, found.num_keys, found.num_arrays) == (3, 3, 2)
    assert (found.num_enums, found.num_exact_counts, found.num_constraints) == (1, 1, 5)
    assert found.points == 2 * 2 + 2 + 1 + 5
    assert found.difficulty == "hard"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(True, "simple", id="boolean-schema"),
        pytest.param({}, "simple", id="empty"),
        pytest.param(PERSON, "simple", id="flat"),
        pytest.param({"type": "array", "items": PERSON}, "medium", id="array-of-objects"),
        pytest.param(NESTED, "hard", id="nested"),
    ],
)
def test_difficulty_grows_with_the_schema(schema: Any, expected: str) -> None:
    assert difficulty_of(schema) == expected


def test_constructs_name_what_a_schema_uses() -> None:
    assert constructs_of(NESTED) == (
        "array",
        "array_of_objects",
        "closed_object",
        "deep_nesting",
        "enum",
        "exact_count",
        "length",
        "nesting",
        "nullable",
        "optional_key",
        "top_level_array",
        "unique_items",
    )
    assert constructs_of(True) == ()


def test_skeleton_is_canonical_json() -> None:
    text = skeleton(NESTED)
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) == text
