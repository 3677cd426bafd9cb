"""Expected answers: what counts as the same document, and that only it earns everything."""

import json
from random import Random
from typing import Any

import pytest

from trainables.tasks.strict_json.answers import NO_DOCUMENT, Answer, compare
from trainables.tasks.strict_json.rewards import ANSWER_REWARDS
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.task import Score

EXPECTED = {"buyer": "Mei", "paid": True, "items": [{"id": 1, "n": 2}, {"id": 2, "n": 1.5}]}
SCHEMA = json.dumps({"type": "object", "required": ["buyer"]})


@pytest.mark.parametrize(
    ("document", "options", "is_equal", "error", "where"),
    [
        pytest.param(EXPECTED, {}, True, "ok", "", id="same"),
        pytest.param(
            {"items": [{"n": 2.0, "id": 1}, {"n": 1.5, "id": 2}], "paid": True, "buyer": "Mei"},
            {},
            True,
            "ok",
            "",
            id="order-of-keys-and-numbers-by-value",
        ),
        pytest.param({**EXPECTED, "buyer": "Tom"}, {}, False, "wrong_text", "/buyer", id="text"),
        pytest.param({**EXPECTED, "paid": 1}, {}, False, "wrong_boolean", "/paid", id="boolean"),
        pytest.param({**EXPECTED, "more": 0}, {}, False, "extra_value", "/more", id="extra"),
        pytest.param(
            {**EXPECTED, "more": 0}, {"ignore": ["more"]}, True, "ok", "", id="ignored-key"
        ),
        pytest.param({"paid": True}, {}, False, "missing_value", "/buyer", id="missing"),
        pytest.param(
            {**EXPECTED, "items": EXPECTED["items"][::-1]},  # type: ignore[index]
            {},
            False,
            "wrong_number",
            "/items/0/id",
            id="order-counts",
        ),
        pytest.param(
            {**EXPECTED, "items": EXPECTED["items"][::-1]},  # type: ignore[index]
            {"any_order": True},
            True,
            "ok",
            "",
            id="any-order",
        ),
        pytest.param(
            {**EXPECTED, "items": [{"id": 1, "n": 1.5}, {"id": 2, "n": 2}]},
            {"any_order": True},
            False,
            "wrong_value",
            "",
            id="any-order-mixes-no-items",
        ),
        pytest.param(
            {**EXPECTED, "items": [{"id": 8, "n": 2}, {"id": 9, "n": 1.5}]},
            {"ignore": ["/items/*/id"]},
            True,
            "ok",
            "",
            id="ignored-pointer",
        ),
        pytest.param({**EXPECTED, "items": []}, {}, False, "missing_value", "/items/0/id", id="[]"),
    ],
)
def test_documents_are_compared_by_what_they_say(
    document: Any, options: dict[str, Any], is_equal: bool, error: str, where: str
) -> None:
    found = compare(document, EXPECTED, **options)
    assert (found.is_equal, found.error_class, found.where) == (is_equal, error, where)
    assert (found.f1 == 1) >= is_equal


def test_shares_are_of_leaves() -> None:
    found = compare({"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 1, "b": 2, "c": 0})
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert found.f1 == pytest.approx(4 / 7)
    assert compare([], {}).f1 == 0 and compare({}, {}).f1 == 1


@pytest.mark.parametrize(
    ("document", "options", "fields"),
    [
        pytest.param(
            EXPECTED,
            {},
            {
                "/buyer": (1, 0, 0, 0),
                "/paid": (1, 0, 0, 0),
                "/items/*/id": (2, 0, 0, 0),
                "/items/*/n": (2, 0, 0, 0),
            },
            id="all-right",
        ),
        pytest.param(
            {"buyer": "Tom", "items": [{"id": 1, "n": 9}, {"id": 2}, {"id": 3}], "a/b": None},
            {},
            {
                "/buyer": (0, 1, 0, 0),
                "/paid": (0, 0, 1, 0),
                "/items/*/id": (2, 0, 0, 1),
                "/items/*/n": (0, 1, 1, 0),
                "/a~1b": (0, 0, 0, 1),
            },
            id="each-kind",
        ),
        pytest.param(
            {"items": [{"id": 2, "n": 2}, {"id": 3, "n": 7}]},
            {"any_order": True, "ignore": ["buyer", "paid"]},
            {"/items/*/id": (1, 1, 0, 0), "/items/*/n": (1, 1, 0, 0)},
            id="any-order-and-ignored",
        ),
        pytest.param(
            NO_DOCUMENT,
            {"ignore": ["items"]},
            {"/buyer": (0, 0, 1, 0), "/paid": (0, 0, 1, 0)},
            id="no-document",
        ),
        pytest.param(
            "text",
            {"ignore": ["items", "paid"]},
            {"/buyer": (0, 0, 1, 0), "": (0, 0, 0, 1)},
            id="another-kind-of-document",
        ),
    ],
)
def test_values_are_counted_by_field(
    document: Any, options: dict[str, Any], fields: dict[str, tuple[int, ...]]
) -> None:
    assert compare(document, EXPECTED, **options).fields == fields


def test_deep_documents_raise_nothing() -> None:
    deep: Any = []
    for _ in range(480):
        deep = [deep]
    for any_order in (False, True):
        assert compare(deep, EXPECTED, any_order=any_order).f1 == 0
        compare(deep, deep, any_order=any_order)


def scored(text: str, *, thinking: bool = False) -> Score:
    answer = Answer(EXPECTED)
    return Scorer().score(text, SCHEMA, thinking=thinking, think_prefilled=False, answer=answer)


def fenced(document: object) -> str:
    return f"```json\n{json.dumps(document)}\n```"


def test_a_strict_answer_can_be_wrong_and_says_where() -> None:
    found = scored(fenced({**EXPECTED, "buyer": "Tom"}))
    assert found.criteria["strict"] and not found.criteria["correct"]
    assert (found.error_class, found.error_path) == ("wrong_text", "/buyer")
    assert found.rewards["content"] == found.measures["content_f1"] == pytest.approx(5 / 6)
    assert found.fields["/buyer"] == (0, 1, 0, 0)
    assert not scored(f"{fenced(EXPECTED)} Done.").criteria["correct"]
    assert scored("none").fields["/items/*/id"] == (0, 0, 2, 0)


@pytest.mark.parametrize("thinking", [False, True], ids=["no-think", "think"])
def test_correct_is_every_component_at_its_maximum_and_nothing_else_is(thinking: bool) -> None:
    settings = StrictJsonSettings.model_validate(
        {"train": "rows.jsonl", "columns": {"answer": "label"}}
    )
    decisive = settings.decisive_components(thinking)
    assert {"content", "schema", "strictness"} <= decisive
    weights = settings.default_weights(thinking)
    thought = "<think>buyer, paid and items, one by one</think>\n" if thinking else ""
    right = scored(thought + fenced(EXPECTED), thinking=thinking)
    assert right.criteria["correct"] and right.error_class == "ok"
    assert set(right.rewards) == set(ANSWER_REWARDS) and set(right.rewards.values()) == {1.0}
    random, num_wrong = Random(0), 0
    for _ in range(400):
        document = {key: value for key, value in EXPECTED.items() if random.random() < 0.8}
        document |= {"buyer": random.choice(["Mei", "Tom", 3])} if random.random() < 0.5 else {}
        text = random.choice([thought, thought, ""]) + fenced(document)
        text = text[: random.choice([len(text), len(text), random.randrange(len(text))])]
        found = scored(text + random.choice(["", "", " Done."]), thinking=thinking)
        is_correct = found.criteria["correct"]
        num_wrong += not is_correct
        assert is_correct == all(found.rewards[name] == 1 for name in decisive), text
        earned = sum(weights[name] * value for name, value in found.rewards.items())
        assert is_correct == (earned > sum(weights.values()) - 1e-9), text
    assert 100 < num_wrong < 400


def test_with_strict_as_the_aim_content_is_no_condition() -> None:
    settings = StrictJsonSettings.model_validate(
        {"train": "rows.jsonl", "columns": {"answer": "label"}, "primary": "strict"}
    )
    assert settings.primary_criterion == "strict" and settings.criteria[-1] == "correct"
    assert settings.decisive_components(False) == {"schema", "strictness"}
