"""The seven components: their values, their ranges, and the two theorems."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from scoring_material import (
    GOLD_BOOK,
    GOLD_SHELF,
    MAXIMA,
    SHELF,
    THOUGHT,
    fenced,
    scored,
    thoughtful,
    total,
)

from trainables.tasks.strict_json.rewards import REWARDS
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings

RANGES = {
    "format": (0.0, 1.0),
    "validity": (0.0, 1.0),
    "schema": (0.0, 1.0),
    "reasoning": (-0.5, 1.0),
    "truncation": (-1.0, 1.0),
    "repetition": (-1.0, 1.0),
    "strictness": (-1.0, 1.0),
}
COMPLETIONS = {
    "gold": fenced(GOLD_BOOK),
    "thoughtful": thoughtful(fenced(GOLD_BOOK)),
    "thoughtless": thoughtful(fenced(GOLD_BOOK), "hm"),
    "chatty": f"Sure, here it is!\n{fenced(GOLD_BOOK)}\nAnything else?",
    "two-fences": fenced(GOLD_BOOK) * 2,
    "other-fence": fenced(GOLD_BOOK).replace("json", ""),
    "bare": fenced(GOLD_BOOK)[8:-4],
    "unclosed": fenced(GOLD_BOOK)[:-4],
    "cut": fenced(GOLD_BOOK)[:30],
    "missing-key": fenced({"title": "Utopia", "tags": ["rare"]}),
    "wrong-type": fenced({**GOLD_BOOK, "year": "1516"}),
    "extra-key": fenced({**GOLD_BOOK, "isbn": 1}),
    "not-json": fenced("{title: Utopia}"),
    "list": fenced([GOLD_BOOK]),
    "empty-object": fenced({}),
    "empty-fence": "```json\n```",
    "think-only": "<think>So I have to write a book",
    "prose": "I would rather talk about the weather.",
    "loop": fenced('{"title": "' + "very " * 200),
    "empty": "",
}

completions = pytest.mark.parametrize(
    "completion", [pytest.param(text, id=name) for name, text in COMPLETIONS.items()]
)
modes = pytest.mark.parametrize(
    "thinking", [pytest.param(False, id="no-think"), pytest.param(True, id="think")]
)


@completions
@modes
def test_every_value_is_in_range_and_has_a_reason(completion: str, thinking: bool) -> None:
    score = scored(completion, thinking=thinking)
    assert tuple(score.rewards) == tuple(score.reasons) == tuple(REWARDS)
    for name, (low, high) in RANGES.items():
        assert low <= score.rewards[name] <= high, name
        assert (score.rewards[name] == high) == (score.reasons[name] in ("ok", "not_asked")), name


@completions
@modes
def test_strict_is_the_maximum_and_anything_else_lacks_a_decisive_component(
    completion: str, thinking: bool
) -> None:
    score = scored(completion, thinking=thinking)
    if score.criteria["strict"]:
        assert score.rewards == MAXIMA
    else:
        settings = StrictJsonSettings()
        decisive = settings.decisive_components(thinking)
        assert any(score.rewards[name] < 1.0 for name in decisive)
        weights = settings.default_weights(thinking)
        assert total(score, thinking=thinking) < sum(weights.values())


@completions
def test_a_scorer_answers_the_same_again_and_after_pickling(completion: str) -> None:
    scorer = Scorer(placeholders=("bla bla",))
    first = scored(completion, scorer=scorer)
    copy = pickle.loads(pickle.dumps(scorer))
    assert scored(completion, scorer=scorer) == first == scored(completion, scorer=copy)


@pytest.mark.parametrize(
    ("ladder", "thinking"),
    [
        pytest.param(["gold", "chatty", "bare"], False, id="less-and-less-clean"),
        pytest.param(["gold", "wrong-type", "not-json", "prose"], False, id="less-and-less-json"),
        pytest.param(["gold", "unclosed", "cut"], False, id="cut-earlier-and-earlier"),
        pytest.param(["thoughtful", "thoughtless", "gold"], True, id="less-and-less-thinking"),
        pytest.param(["gold", "extra-key", "empty-object"], False, id="less-and-less-book"),
    ],
)
def test_damage_lowers_the_total(ladder: list[str], thinking: bool) -> None:
    totals = [
        total(scored(COMPLETIONS[name], thinking=thinking), thinking=thinking) for name in ladder
    ]
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == len(totals)


@pytest.mark.parametrize(
    ("completion", "component", "value", "reason"),
    [
        pytest.param("```json\n1\n```", "format", 1.0, "ok", id="json-fence"),
        pytest.param("```json\n1", "format", 0.5, "unclosed_fence", id="unclosed"),
        pytest.param("```\n1\n```", "format", 0.5, "other_fence", id="other-fence"),
        pytest.param("[1]", "format", 0.0, "no_fence", id="bare"),
        pytest.param("[1]", "validity", 1.0, "ok", id="bare-parses"),
        pytest.param(fenced("oops"), "validity", 0.2, "parse_unquoted_value", id="never-json"),
        pytest.param("", "validity", 0.0, "no_document", id="nothing-to-parse"),
        pytest.param("```json\n```", "validity", 0.0, "no_document", id="empty-fence"),
        pytest.param(fenced([1]), "truncation", 1.0, "ok", id="complete"),
        pytest.param(fenced("[1,,2]"), "truncation", 1.0, "ok", id="complete-but-not-json"),
        pytest.param("Hello.", "truncation", 0.0, "no_document", id="no-json"),
        pytest.param("```json\n[1, 2", "truncation", -1.0, "cut_off", id="cut-in-a-fence"),
        pytest.param('{"a": [1, 2', "truncation", -1.0, "cut_off", id="cut-bare"),
        pytest.param("<think>So", "truncation", -1.0, "cut_off", id="cut-in-thinking"),
        pytest.param("```json\n", "truncation", -1.0, "cut_off", id="cut-before-it-starts"),
        pytest.param(fenced([1]), "strictness", 1.0, "ok", id="nothing-outside"),
        pytest.param("[1]", "strictness", 0.5, "no_json_fence", id="clean-but-bare"),
        pytest.param("Hello.", "strictness", -1.0, "no_document", id="only-text"),
    ],
)
def test_components_have_their_documented_values(
    completion: str, component: str, value: float, reason: str
) -> None:
    score = scored(completion)
    assert (score.rewards[component], score.reasons[component]) == (value, reason)


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        pytest.param(thoughtful(fenced(1)), 1.0, "ok", id="real"),
        pytest.param(thoughtful(fenced(1), "so so so so so"), -0.2, "too_little", id="too-little"),
        pytest.param(thoughtful(fenced(1), "..."), -0.5, "placeholder", id="dots"),
        pytest.param(fenced(1), -0.5, "missing", id="missing"),
        pytest.param(f"<think>{THOUGHT}", -0.5, "unclosed", id="unclosed"),
    ],
)
def test_reasoning_is_judged_with_thinking(completion: str, value: float, reason: str) -> None:
    score = scored(completion, thinking=True)
    assert (score.rewards["reasoning"], score.reasons["reasoning"]) == (value, reason)


def test_the_later_the_first_error_the_higher_validity() -> None:
    text = '{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}'
    values = [
        scored(fenced(text.replace(f": {number}", ": oops"))).rewards["validity"]
        for number in range(1, 6)
    ]
    assert values == sorted(values)
    assert len(set(values)) == 5
    assert all(0.2 < value < 0.7 for value in values)


def test_strictness_falls_with_the_outside_text() -> None:
    values = [
        scored(f"{'word ' * number}{fenced(GOLD_BOOK)}").rewards["strictness"]
        for number in (0, 1, 10, 100, 1000)
    ]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 5


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(fenced([GOLD_BOOK] * 3, indent=8), id="indentation"),
        pytest.param(fenced([[[[[[[[[[1]]]]]]]]]], indent=4), id="closing-braces"),
        pytest.param(
            fenced([{"name": f"n{n}", "type": "x", "age": n} for n in range(60)]), id="shared-keys"
        ),
        pytest.param(fenced(GOLD_SHELF, indent=2).replace("}", "}  \n\n"), id="blank-lines"),
        pytest.param(fenced({str(number): True for number in range(60)}), id="equal-values"),
    ],
)
def test_layout_and_shared_keys_are_no_repetition(text: str) -> None:
    score = scored(text, {"type": "null"})
    assert not score.criteria["conformant"]
    assert score.rewards["repetition"] == 1.0


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        pytest.param("no no no no no " + fenced([1]), 1.0, 1.0, id="a-few-words"),
        pytest.param(fenced([7] * 24), 0.3, 0.9, id="some"),
        pytest.param(fenced([{"name": "x", "age": 1}] * 20), -0.9, 0.0, id="equal-objects"),
        pytest.param("and so on " * 60 + fenced([1]), -1.0, -1.0, id="phrase"),
        pytest.param(fenced('["' + "la" * 200), -1.0, -1.0, id="one-endless-word"),
        pytest.param("=" * 500 + fenced([1]), -1.0, -1.0, id="marks"),
        pytest.param(fenced('{"a": 1, ' * 80), -1.0, -1.0, id="objects-without-end"),
    ],
)
def test_loops_are_repetition(text: str, low: float, high: float) -> None:
    assert low <= scored(text, {"type": "null"}).rewards["repetition"] <= high


@pytest.mark.parametrize(
    "grow",
    [
        pytest.param(lambda first: first.update({f"k{n}": n for n in range(100)}), id="keys"),
        pytest.param(lambda first: first["at"].extend([1] * 100), id="equal-items"),
        pytest.param(lambda first: first["at"].extend(range(100)), id="items"),
    ],
)
@pytest.mark.parametrize("place", [0, 3, 6], ids=["first", "middle", "last"])
def test_elements_put_into_a_loop_do_not_hide_it(grow: Callable[..., None], place: int) -> None:
    loop: list[dict[str, Any]] = [{"name": "x", "at": [1, 2]} for _ in range(7)]
    before = scored(fenced(loop), {"type": "null"})
    assert before.rewards["repetition"] < 0.9
    grow(loop[place])
    after = scored(fenced(loop), {"type": "null"})
    assert after.rewards["repetition"] == -1.0
    assert total(after) < total(before)


@pytest.mark.parametrize(
    ("number", "asked", "value"),
    [
        pytest.param(65, 1, 1.0, id="many"),
        pytest.param(80, 1, 0.0, id="runs-on"),
        pytest.param(95, 1, -1.0, id="runaway"),
        pytest.param(5_000, 1, -1.0, id="without-end"),
        pytest.param(95, 60, 1.0, id="asked-for"),
    ],
)
def test_a_wrong_document_that_runs_on_is_repetition(number: int, asked: int, value: float) -> None:
    schema = {"type": "array", "minItems": asked, "items": {"type": "integer"}}
    score = scored(fenced(["x", *range(1, number)]), schema)
    assert score.rewards["repetition"] == pytest.approx(value)
    assert (score.reasons["repetition"] == "runs_on") == (value < 1.0)


def test_a_conformant_document_may_repeat_itself() -> None:
    schema = {"type": "array", "items": {"const": 0}, "minItems": 300}
    assert scored(fenced([0] * 300), schema).rewards == MAXIMA


def test_bare_json_earns_schema_credit_but_is_not_strict() -> None:
    score = scored(COMPLETIONS["bare"])
    assert score.rewards["schema"] == 1.0
    assert not score.criteria["parsed"]


def test_default_weights_and_decisive_components_fit_the_mode() -> None:
    settings = StrictJsonSettings()
    decisive = {False: {"schema", "strictness"}, True: {"schema", "strictness", "reasoning"}}
    for thinking in (False, True):
        weights = settings.default_weights(thinking)
        assert sum(weights.values()) == pytest.approx(1.0)
        assert (weights["reasoning"] > 0) == thinking
        assert settings.decisive_components(thinking) == decisive[thinking]


def test_a_scorer_forgets_the_oldest_schema_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.tasks.strict_json.scoring.MAX_COMPILED_SCHEMAS", 2)
    scorer = Scorer()
    schemas = [SHELF, {"type": "array", "maxItems": 1}, {"type": "array", "maxItems": 2}, SHELF]
    criteria = [scored(fenced(GOLD_SHELF), schema, scorer=scorer).criteria for schema in schemas]
    assert [criterion["strict"] for criterion in criteria] == [True, False, False, True]
