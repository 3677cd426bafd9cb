"""Hints over shapes that today's sweep files do not have yet: several tasks, nested unions."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from strictune.config.base import Spec
from strictune.config.hints import describe, explain

Share = Annotated[float, Field(gt=0, lt=1)]


class Cat(Spec):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)] = 9
    toes: Annotated[int, Field(ge=4, multiple_of=2)] = 18


class Dog(Spec):
    kind: Literal["dog"]
    tricks: Annotated[dict[str, Share], Field(default_factory=dict)]


class House(Spec):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    floors: list[Annotated[int, Field(ge=0)]] | None = None


def problems(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        House.model_validate(data)
    found = explain(caught.value, data=data, schema=House.model_json_schema())
    return [f"{problem.key} {problem.text}" for problem in found]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            {"pet": {"kind": "cow"}}, ["pet.kind = cow, expected one of cat, dog."], id="kind"
        ),
        pytest.param(
            {"pet": {"lives": 3}}, ["pet.kind is missing, expected one of cat, dog."], id="no-kind"
        ),
        pytest.param(
            {"pet": {"kind": "cat", "lives": 10}},
            ["pet.lives = 10, expected a whole number from 1 to 9."],
            id="inside-the-chosen-kind",
        ),
        pytest.param(
            {"pet": {"kind": "cat", "toes": 7}},
            ["pet.toes = 7, expected a whole number of 4 or more, a multiple of 2."],
            id="a-multiple",
        ),
        pytest.param(
            {"pet": {"kind": "dog", "lives": 10}},
            ["pet.lives is not a known key, expected one of kind, tricks."],
            id="a-key-of-the-other-kind",
        ),
        pytest.param(
            {"pet": {"kind": "dog", "tricks": {"sit": 1}}},
            ["pet.tricks.sit = 1, expected a number above 0 and below 1."],
            id="inside-a-mapping",
        ),
        pytest.param(
            {"pet": {"kind": "cat"}, "floors": [1, -1]},
            ["floors.1 = -1, expected a whole number of 0 or more."],
            id="inside-an-optional-list",
        ),
        pytest.param({}, ["pet is missing, expected a mapping of keys to values."], id="missing"),
        pytest.param(
            {"pet": 3}, ["pet = 3, expected a mapping of keys to values."], id="no-mapping"
        ),
    ],
)
def test_problems_are_told_in_keys_of_the_file(data: dict[str, Any], expected: list[str]) -> None:
    assert problems(data) == expected


def test_long_values_are_cut() -> None:
    [problem] = problems({"pet": {"kind": "cat", "lives": "x" * 500}})
    assert len(problem) < 150


@pytest.mark.parametrize(
    ("node", "words"),
    [
        pytest.param({"type": "string", "minLength": 1}, "a text that is not empty", id="text"),
        pytest.param({"type": "number", "maximum": 1}, "a number at most 1", id="at-most"),
        pytest.param({"enum": ["a", 1]}, "one of a, 1", id="choices"),
        pytest.param(
            {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "true or false, or null",
            id="optional",
        ),
        pytest.param({}, "a value", id="anything"),
    ],
)
def test_schemas_are_described_in_words(node: dict[str, Any], words: str) -> None:
    assert describe(node, {}) == words
