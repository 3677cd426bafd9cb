"""Error classes: the first thing wrong with a completion, and where."""

import json
from typing import Any

import pytest
from scoring_material import BOOK, GOLD_BOOK, SHELF, THOUGHT, fenced, scored, thoughtful


@pytest.mark.parametrize(
    ("completion", "error_class", "where"),
    [
        pytest.param(fenced(GOLD_BOOK), "ok", "", id="ok"),
        pytest.param("I cannot.", "no_fence", "", id="prose"),
        pytest.param('{"title": 1}', "no_fence", "", id="bare"),
        pytest.param("", "no_fence", "", id="empty"),
        pytest.param("```\n{}\n```", "other_fence", "", id="other-fence"),
        pytest.param('```json\n{"title": "U', "truncated", "20", id="cut-in-a-string"),
        pytest.param(fenced(GOLD_BOOK)[:-4], "truncated", "59", id="fence-never-closed"),
        pytest.param("<think>Let me", "truncated", "13", id="cut-in-thinking"),
        pytest.param("```json\n```", "parse_empty", "8", id="empty-fence"),
        pytest.param(fenced('{"title": "U",}'), "parse_trailing_comma", "22", id="comma"),
        pytest.param(fenced("{title: 1}"), "parse_unquoted_key", "9", id="unquoted"),
        pytest.param(fenced("{} {}"), "parse_extra_data", "11", id="two-documents"),
        pytest.param(fenced('{"a": NaN}'), "over_limits", "14", id="nan"),
        pytest.param(fenced([GOLD_BOOK]), "wrong_top_level_type", "", id="list"),
        pytest.param(fenced({"title": "U"}), "missing_key", "/year", id="key"),
        pytest.param(fenced({**GOLD_BOOK, "year": "x"}), "wrong_type", "/year", id="type"),
        pytest.param(fenced({**GOLD_BOOK, "tags": []}), "wrong_count", "/tags", id="count"),
        pytest.param(fenced({**GOLD_BOOK, "a/b": 1}), "extra_key", "/a~1b", id="extra"),
        pytest.param(fenced({**GOLD_BOOK, "tags": ["x"]}), "not_in_enum", "/tags/0", id="enum"),
        pytest.param(fenced({**GOLD_BOOK, "year": 1}), "out_of_range", "/year", id="range"),
        pytest.param(fenced({**GOLD_BOOK, "title": ""}), "wrong_length", "/title", id="length"),
        pytest.param(fenced({**GOLD_BOOK, "note": 1}), "wrong_type", "/note", id="optional"),
        pytest.param(f"Hi {fenced(GOLD_BOOK)}", "text_outside", "0", id="text-before"),
        pytest.param(fenced(GOLD_BOOK) * 2, "several_fences", "63", id="two-fences"),
        pytest.param(thoughtful(fenced(GOLD_BOOK)), "think_uninvited", "", id="uninvited"),
    ],
)
def test_the_first_problem_names_the_class(completion: str, error_class: str, where: str) -> None:
    score = scored(completion)
    assert (score.error_class, score.error_path) == (error_class, where)


@pytest.mark.parametrize(
    ("completion", "error_class"),
    [
        pytest.param(thoughtful(fenced(GOLD_BOOK)), "ok", id="ok"),
        pytest.param(fenced(GOLD_BOOK), "think_missing", id="missing"),
        pytest.param(thoughtful(fenced(GOLD_BOOK), "..."), "think_placeholder", id="placeholder"),
        pytest.param(thoughtful(fenced(GOLD_BOOK), "hm"), "think_too_little", id="too-little"),
        pytest.param(fenced({}), "missing_key", id="the-document-comes-first"),
    ],
)
def test_think_problems_come_last(completion: str, error_class: str) -> None:
    assert scored(completion, thinking=True).error_class == error_class


@pytest.mark.parametrize(
    ("schema", "document", "error_class", "where"),
    [
        pytest.param(SHELF, [{"title": 1, "pages": 1}] * 5, "wrong_type", "/0/title", id="first"),
        pytest.param(SHELF, [], "wrong_count", "", id="too-few"),
        pytest.param({"pattern": "^a"}, "b", "pattern_mismatch", "", id="pattern"),
        pytest.param({"format": "date"}, "b", "format_mismatch", "", id="format"),
        pytest.param({"const": {"a": 1}}, {}, "not_in_enum", "", id="const"),
        pytest.param({"uniqueItems": True}, [1, 1], "repeated_item", "", id="repeated"),
        pytest.param({"not": {}}, 1, "forbidden_value", "", id="not"),
        pytest.param(
            {"anyOf": [{"minimum": 2}, {"maximum": 0}]}, 1, "no_matching_branch", "", id="any"
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
            1,
            "wrong_top_level_type",
            "",
            id="types",
        ),
        pytest.param(
            {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string"}]}}},
            {"a": 1},
            "wrong_type",
            "/a",
            id="types-of-a-member",
        ),
    ],
)
def test_violations_name_their_place(
    schema: dict[str, Any], document: object, error_class: str, where: str
) -> None:
    score = scored(fenced(json.dumps(document)), schema)
    assert (score.error_class, score.error_path) == (error_class, where)


def test_positions_count_in_the_models_own_text() -> None:
    completion = f"{THOUGHT}</think>\n{fenced('{oops}')}"
    score = scored(completion, BOOK, thinking=True, think_prefilled=True)
    assert score.error_class == "parse_unquoted_key"
    assert completion[int(score.error_path) :].startswith("oops")
