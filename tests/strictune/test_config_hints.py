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


class Alarm(Spec):
    kind: Literal["none", "loud"] = "none"
    volume: float = 0.5


class House(Spec):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    floors: list[Annotated[int, Field(ge=0)]] | None = None
    doors: Annotated[tuple[str, ...], Field(min_length=2)] = ("front", "back")
    alarm: Alarm | None = None
    name: Annotated[str, Field(pattern="^[a-z0-9]+$")] = "home"
    heating: Literal["auto"] | Annotated[float, Field(strict=True)] = "auto"
    is_sold: Annotated[bool, Field(strict=True)] = False


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
        pytest.param(
            {"pet": {"kind": "cat"}, "doors": ["front"]},
            ['doors = ["front"], expected a list with at least 2 values, each a text.'],
            id="a-list-that-is-too-short",
        ),
        pytest.param(
            {"pet": {"kind": "cat"}, "doors": ["front", 1]},
            ["doors.1 = 1 (a whole number, not a text: put quotes around it), expected a text."],
            id="a-list-of-which-an-item-is-wrong",
        ),
        pytest.param(
            {"pet": {"kind": "cat"}, "alarm": ["loud"]},
            ['alarm = ["loud"], expected a mapping with keys among kind, volume, or null.'],
            id="a-list-for-a-mapping-with-known-keys",
        ),
        pytest.param(
            {"pet": {"kind": "cat"}, "alarm": {"kind": ["loud"]}},
            ['alarm.kind = ["loud"], expected one of none, loud.'],
            id="a-list-for-a-kind",
        ),
        pytest.param({}, ["pet is missing, expected a mapping of keys to values."], id="missing"),
        pytest.param(
            {"pet": 3}, ["pet = 3, expected a mapping of keys to values."], id="no-mapping"
        ),
    ],
)
def test_problems_are_told_in_keys_of_the_file(data: dict[str, Any], expected: list[str]) -> None:
    assert problems(data) == expected


QUOTED = "(a text, because of the quotes around it: remove them)"


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        pytest.param("heating", "0.5", f"= 0.5 {QUOTED}, expected auto, or a number.", id="number"),
        pytest.param("heating", "1e-5", f"= 1e-5 {QUOTED},", id="number-with-exponent"),
        pytest.param("heating", "3", f"= 3 {QUOTED},", id="whole-number"),
        pytest.param("is_sold", "true", f"= true {QUOTED}, expected true or false.", id="boolean"),
        pytest.param("floors", "[1, 2]", f"= [1, 2] {QUOTED}, expected a list", id="list"),
        pytest.param("heating", "warm", "= warm, expected auto", id="text-that-is-no-number"),
        pytest.param("heating", "true", "= true, expected auto", id="text-of-another-type"),
        pytest.param("heating", "{", "= {, expected auto", id="text-that-is-no-yaml"),
        pytest.param(
            "name", 123, "= 123 (a whole number, not a text: put quotes around it),", id="name"
        ),
        pytest.param("name", 1.5, "= 1.5 (a number, not a text: put quotes", id="version"),
        pytest.param("name", True, "= true (true or false, not a text: put quotes", id="word"),
        pytest.param("name", None, "= null, expected a text", id="nothing"),
        pytest.param("name", "home ", '= "home ", expected a text that matches', id="blank"),
        pytest.param("name", "ho\u200bme", '= "ho\\u200bme", expected', id="invisible"),
        pytest.param("name", "Häuser", "= Häuser, expected", id="letters-of-other-scripts"),
    ],
)
def test_a_value_that_looks_right_is_shown_with_its_type(
    key: str, value: object, found: str
) -> None:
    [problem] = problems({"pet": {"kind": "cat"}, key: value})
    assert problem.startswith(f"{key} {found}")


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
