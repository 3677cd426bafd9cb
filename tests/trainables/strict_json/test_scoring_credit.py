"""Schema credit: ordered by quality, deaf to bulk, and never free."""

import copy
import json
import random
from typing import Any

import pytest
from scipy.stats import spearmanr
from scoring_material import (
    BOOK,
    GOLD_BOOK,
    GOLD_SHELF,
    SHELF,
    credit,
    fenced,
    scored,
    total,
)

from strictune.errors import SpecError
from trainables.tasks.strict_json.scoring import Scorer

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "required": ["name", "children"],
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
        }
    },
}
SHAPE = {
    "oneOf": [
        {
            "type": "object",
            "required": ["kind", "radius"],
            "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}},
        },
        {
            "type": "object",
            "required": ["kind", "width", "height"],
            "properties": {
                "kind": {"const": "box"},
                "width": {"type": "number"},
                "height": {"type": "number"},
            },
        },
    ]
}


@pytest.mark.parametrize(
    ("schema", "better", "worse"),
    [
        pytest.param(BOOK, {"title": "U", "year": 1}, {"title": "U"}, id="one-key-less"),
        pytest.param(BOOK, {**GOLD_BOOK, "year": 1}, {**GOLD_BOOK, "year": "1"}, id="range-type"),
        pytest.param(BOOK, {**GOLD_BOOK, "a": 1}, {**GOLD_BOOK, "a": 1, "b": 1}, id="extra-keys"),
        pytest.param(BOOK, {**GOLD_BOOK, "tags": ["old"]}, {**GOLD_BOOK, "tags": []}, id="empty"),
        pytest.param(BOOK, {**GOLD_BOOK, "tags": []}, {**GOLD_BOOK, "tags": "new"}, id="no-list"),
        pytest.param(BOOK, {"title": "Utopia"}, {}, id="nothing"),
        pytest.param(BOOK, {**GOLD_BOOK, "note": 1}, {"note": "x"}, id="optional-wrong"),
        pytest.param(SHELF, GOLD_SHELF[:4], GOLD_SHELF[:3], id="two-items-less"),
        pytest.param(SHELF, GOLD_SHELF + GOLD_SHELF[:1], GOLD_SHELF * 2, id="five-items-more"),
        pytest.param(
            SHELF,
            [{"title": "x"}, *GOLD_SHELF[1:]],
            [{"title": "x"}] * 2 + GOLD_SHELF[2:],
            id="two-wrong-items",
        ),
        pytest.param(SHELF, {"books": GOLD_SHELF}, {"books": GOLD_SHELF[:2]}, id="wrapped"),
        pytest.param(SHELF, {"books": GOLD_SHELF}, {"a": 1}, id="wrapped-or-nothing"),
        pytest.param(SHELF, GOLD_SHELF[0], {"title": "x"}, id="one-item-without-its-list"),
        pytest.param(SHELF, GOLD_SHELF[:4], {"books": GOLD_SHELF}, id="count-before-wrapping"),
        pytest.param(
            TREE,
            {"name": "a", "children": [{"name": "b", "children": [{"name": 1}]}]},
            {"name": "a", "children": [{"name": 1}]},
            id="deeper-in-a-tree",
        ),
        pytest.param(SHAPE, {"kind": "box", "width": 1}, {"kind": "box"}, id="nearer-to-a-branch"),
        pytest.param(SHAPE, {"kind": "circle"}, {"kind": "line"}, id="a-branch-or-none"),
        pytest.param(
            {"type": "array", "contains": {"required": ["a", "b"], "type": "object"}},
            [1, {"a": 1}],
            [1, {}],
            id="nearer-to-the-one-element",
        ),
    ],
)
def test_the_nearer_document_earns_more(
    schema: dict[str, Any], better: object, worse: object
) -> None:
    assert 0.95 >= credit(better, schema) > credit(worse, schema) >= 0.0


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        pytest.param(BOOK, [], id="wrong-type"),
        pytest.param(SHELF, "text", id="scalar"),
        pytest.param({"type": "array", "minItems": 2, "maxItems": 5}, {}, id="limits-kept-by-type"),
        pytest.param(SHELF, {}, id="no-item"),
    ],
)
def test_nothing_right_earns_nothing(schema: dict[str, Any], document: object) -> None:
    assert credit(document, schema) == 0.0


def test_prohibitions_pay_nothing_when_kept() -> None:
    free = {"type": "object", "required": ["a", "b"]}
    bound = {
        **free,
        "additionalProperties": False,
        "properties": {"a": True, "b": True},
        "maxProperties": 9,
        "not": {"required": ["z"]},
        "propertyNames": {"maxLength": 9},
    }
    assert credit({}, bound) == credit({}, free)


def test_below_a_missing_container_everything_fails() -> None:
    def schema(inner: dict[str, Any]) -> dict[str, Any]:
        properties = {"a": inner, "b": {"type": "integer"}}
        return {"type": "object", "required": ["a", "b"], "properties": properties}

    assert credit({"b": 1}, schema(BOOK)) < credit({"b": 1}, schema({"type": "object"}))
    assert credit({"b": 1, "a": 1}, schema(BOOK)) < credit({"b": 1, "a": {}}, schema(BOOK))


def _add_items(document: Any) -> Any:
    """Add a hundred copies of a valid item, and as many valid keys, wherever there is room."""
    if isinstance(document, list):
        return document + [{"title": "Filler", "pages": 1}] * 100
    return {**document, **{f"filler_{number}": "x" for number in range(100)}}


BULKY = {
    "shelf": {**{key: SHELF[key] for key in ("type", "items")}, "minItems": 1},
    "open-book": {key: value for key, value in BOOK.items() if key != "additionalProperties"},
    "map": {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
    },
    "exactly-five": SHELF,
    "at-least-five": {**{key: SHELF[key] for key in ("type", "items")}, "minItems": 5},
    "wide": {
        "type": "object",
        "required": ["id"],
        "minProperties": 7,
        "properties": {"id": {"type": "integer"}},
    },
}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        pytest.param("shelf", [{"title": "x"}], id="only-item-wrong"),
        pytest.param("shelf", [*GOLD_SHELF, {"title": "x"}], id="one-item-wrong"),
        pytest.param("shelf", [*GOLD_SHELF, 7], id="one-item-of-another-type"),
        pytest.param("exactly-five", GOLD_SHELF[:4], id="one-too-few"),
        pytest.param("exactly-five", [*GOLD_SHELF, *GOLD_SHELF], id="too-many"),
        pytest.param("exactly-five", [], id="empty-list"),
        pytest.param("at-least-five", [*GOLD_SHELF[:3], 7], id="too-few-and-one-wrong"),
        pytest.param("open-book", {"title": "x"}, id="keys-missing"),
        pytest.param("wide", {"id": "x", "a": 1}, id="too-few-keys-and-one-wrong"),
        pytest.param("open-book", {**GOLD_BOOK, "tags": ["old"]}, id="value-wrong"),
        pytest.param("map", {"a": 1, "b": "x"}, id="one-value-of-a-map-wrong"),
        pytest.param("map", {}, id="empty-map"),
    ],
)
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param("{}", id="clean"),
        pytest.param("Here you are: {}\nDone", id="chatty"),
    ],
)
def test_bulk_never_raises_the_total(schema: str, document: Any, wrap: str) -> None:
    before = scored(wrap.replace("{}", fenced(document)), BULKY[schema])
    after = scored(wrap.replace("{}", fenced(_add_items(document))), BULKY[schema])
    padded = scored(wrap.replace("{}", fenced(document, indent=40)), BULKY[schema])
    assert not after.criteria["conformant"]
    assert total(after) <= total(before)
    assert total(padded) <= total(before)
    assert padded.rewards["schema"] == before.rewards["schema"]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param('[{"title": "x", "pages": 1},@ {"title": oops}]', id="error-behind"),
        pytest.param('[@ {"title": oops, "pages": 1}]', id="error-at-once"),
        pytest.param('[{"title": "x", "pages": 1},@ {"title": "y", "pag', id="cut-off"),
    ],
)
def test_bulk_does_not_pay_in_a_broken_document(broken: str) -> None:
    filler = '{"title": "Filler", "pages": 1},' * 100
    for schema in (BULKY["shelf"], SHELF):
        before = scored(fenced(broken.replace("@", "")), schema)
        after = scored(fenced(broken.replace("@", filler)), schema)
        assert total(after) <= total(before)


def _damages(gold: Any, rng: random.Random) -> list[Any]:
    """Damage a document again and again, each time in a place that is still whole."""
    document = copy.deepcopy(gold)
    steps = [document]
    places = [(index, key) for index in range(len(gold)) for key in ("title", "pages")]
    for index, key in rng.sample(places, 8):
        document = copy.deepcopy(document)
        if rng.random() < 0.5:
            del document[index][key]
        else:
            document[index][key] = None
        steps.append(document)
    return steps


def test_credit_falls_with_the_number_of_damages() -> None:
    rng = random.Random(0)
    numbers, credits = [], []
    for _ in range(30):
        for number, document in enumerate(_damages(GOLD_SHELF, rng)):
            numbers.append(number)
            credits.append(credit(document, SHELF))
    assert spearmanr(numbers, credits).statistic < -0.8


def test_broken_documents_are_told_apart_by_what_they_had_right() -> None:
    text = json.dumps(GOLD_SHELF)
    values = [
        scored(f"```json\n{text[:end]}", SHELF).rewards["schema"]
        for end in range(20, len(text) - 2, 30)
    ]
    assert values == sorted(values)
    assert len(set(values)) >= 5
    assert max(values) < 0.7


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        pytest.param({"type": "integer"}, 1.0, 1.5, id="whole-floats-are-integers"),
        pytest.param(
            {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"},
            1,
            1.0,
            id="but-not-in-draft-04",
        ),
        pytest.param(
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
            },
            0.1,
            0,
            id="exclusive-flag-of-draft-04",
        ),
        pytest.param(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "definitions": {"a": {"type": "string"}},
                "$ref": "#/definitions/a",
                "maxLength": 1,
            },
            "long",
            1,
            id="a-reference-hides-its-neighbours-before-2019",
        ),
        pytest.param(
            {"items": [{"type": "string"}], "$schema": "http://json-schema.org/draft-06/schema#"},
            ["a", 1],
            [1],
            id="tuple-of-draft-06",
        ),
        pytest.param(
            {"prefixItems": [{"type": "string"}], "items": False},
            ["a"],
            ["a", 1],
            id="tuple-of-2020-12",
        ),
        pytest.param({"format": "date"}, "2024-02-29", "2023-02-29", id="formats-assert"),
        pytest.param({"enum": [1, "a", None]}, 1.0, True, id="true-is-not-1"),
        pytest.param({"uniqueItems": True}, [1, True], [1, 1.0], id="unique-items"),
        pytest.param(
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {}, {"a": 1}, id="condition"
        ),
        pytest.param({"dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}, id="dependent"),
        pytest.param(
            {"patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False},
            {"n": 1},
            {"n": "x"},
            id="pattern-properties",
        ),
        pytest.param(
            {"properties": {"a": True}, "unevaluatedProperties": False},
            {"a": 1},
            {"b": 1},
            id="unevaluated",
        ),
        pytest.param({"properties": {"a": False}}, {}, {"a": 1}, id="false-schema"),
        pytest.param(
            {"contains": {"const": 1}, "minContains": 2}, [1, 1], [1, 2], id="min-contains"
        ),
        pytest.param({"not": {"type": "string"}}, 1, "a", id="not"),
        pytest.param({"multipleOf": 0.01}, 0.07, 0.075, id="multiple-of"),
        pytest.param({"oneOf": [{"minimum": 0}, {"maximum": 5}]}, 9, 3, id="one-of-both"),
        pytest.param({"allOf": [{"minLength": 2}, {"pattern": "^a"}]}, "ab", "b", id="all-of"),
        pytest.param({"pattern": "^(?!x)(a+)+$"}, "aaa", "x", id="look-ahead"),
        pytest.param(
            {"$anchor": "top", "properties": {"a": {"$ref": "#top"}}, "type": "object"},
            {"a": {}},
            {"a": 1},
            id="anchor",
        ),
    ],
)
def test_keywords_of_all_drafts_decide(
    schema: dict[str, Any], right: object, wrong: object
) -> None:
    assert credit(right, schema) == 1.0
    assert credit(wrong, schema) <= 0.95


def test_recursion_through_every_branch_stays_small() -> None:
    names = [f"n{number}" for number in range(12)]
    schema = {
        "$ref": "#/$defs/n0",
        "$defs": {
            name: {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "required": names,
                        "properties": {other: {"$ref": f"#/$defs/{other}"} for other in names},
                    },
                ]
            }
            for name in names
        },
    }
    assert credit({"n0": "a"}, schema) < credit(dict.fromkeys(names[:6], "a"), schema) < 1.0


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param("{", id="not-json"),
        pytest.param("3", id="not-a-schema"),
        pytest.param('{"type": "objekt"}', id="unknown-type"),
        pytest.param('{"pattern": "("}', id="bad-pattern"),
        pytest.param('{"$ref": "https://example.com/schema.json"}', id="another-document"),
        pytest.param('{"$ref": "#/$defs/nowhere"}', id="dangling"),
    ],
)
def test_a_schema_that_cannot_be_compiled_is_refused(schema: str) -> None:
    with pytest.raises(SpecError, match="Expected a JSON Schema"):
        Scorer().score("[]", schema, thinking=False, think_prefilled=False)


def test_keys_stuffed_into_a_wrong_container_earn_nothing() -> None:
    filler = {f"filler_{number}": "x" for number in range(100)}
    assert credit({}, SHELF) == credit(filler, SHELF) == 0.0


def test_what_stuffing_mends_inside_a_wrapped_answer_does_not_pay() -> None:
    schema = {
        "type": "object",
        "required": ["info", "notes"],
        "properties": {name: {"type": "object", "minProperties": 2} for name in ("info", "notes")},
    }
    answer: dict[str, Any] = {"info": {"a": 1}, "notes": {"a": 1, "b": 2}}
    before = credit([answer], schema)
    answer["info"].update({f"filler_{number}": "x" for number in range(100)})
    assert 0.0 < credit([answer], schema) <= before


def test_an_object_wrapped_once_too_often_is_worth_more_than_an_empty_one() -> None:
    wrapped = credit({"book": GOLD_BOOK}, BOOK)
    assert credit({}, BOOK) < wrapped < credit({"title": "Utopia", "year": 1516}, BOOK)
    assert credit({"book": GOLD_BOOK, "more": 1}, BOOK) < wrapped
