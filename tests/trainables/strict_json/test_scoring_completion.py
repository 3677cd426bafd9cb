"""A completion is taken apart once: think block, fences, candidate document, outside text."""

import pytest
from scoring_material import GOLD_BOOK, THOUGHT, fenced, thoughtful

from trainables.tasks.strict_json.completion import parse_completion


@pytest.mark.parametrize(
    ("text", "form", "document"),
    [
        pytest.param(fenced(GOLD_BOOK), "json_fence", GOLD_BOOK, id="json-fence"),
        pytest.param("```JSON\n[1]\n```", "json_fence", [1], id="any-case"),
        pytest.param("```json[1]```", "json_fence", [1], id="one-line"),
        pytest.param("```json\r\n[1]\r\n```", "json_fence", [1], id="carriage-returns"),
        pytest.param("Note:\n```\n[1]\n```\n```json\n[2]\n```", "json_fence", [2], id="json-first"),
        pytest.param("```json\n[1]\n```\n```json\n[2]\n```", "json_fence", [1], id="first-of-two"),
        pytest.param("```\n[1]\n```", "other_fence", [1], id="no-language"),
        pytest.param("```python\n[1]\n```", "other_fence", [1], id="other-language"),
        pytest.param("```json5\n[1]\n```", "other_fence", [1], id="json5-is-not-json"),
        pytest.param("```jsonl\n[1]\n```", "other_fence", [1], id="jsonl-is-not-json"),
        pytest.param("Here: [1] there.", "bare", [1], id="bare-with-text-around"),
        pytest.param(' "word" ', "bare", "word", id="bare-scalar"),
        pytest.param("12 apples", "none", None, id="text-that-starts-with-a-number"),
        pytest.param("No JSON here.", "none", None, id="prose"),
        pytest.param("", "none", None, id="empty"),
    ],
)
def test_candidate_is_the_json_fence_else_another_fence_else_bare_text(
    text: str, form: str, document: object
) -> None:
    parsed = parse_completion(text, think_prefilled=False)
    assert (parsed.form, parsed.document) == (form, document)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        pytest.param('```json\n{"a": "use ``` here"}\n```', {"a": "use ``` here"}, id="ticks"),
        pytest.param('```json\n["```json"]\n```', ["```json"], id="fence"),
        pytest.param('```json\n["<think>x</think>"]\n```', ["<think>x</think>"], id="think-block"),
        pytest.param('```json\n["</think>"]\n```', ["</think>"], id="think-end"),
    ],
)
def test_a_string_may_quote_what_elsewhere_is_markup(text: str, document: object) -> None:
    parsed = parse_completion(text, think_prefilled=False)
    assert parsed.is_parsed
    assert parsed.document == document
    assert not parsed.outside
    assert parsed.thought is None


def test_fences_inside_think_blocks_do_not_count() -> None:
    draft = "<think>first ```json\n[1]\n``` no</think>"
    parsed = parse_completion(draft + "```json\n[2]\n```", think_prefilled=False)
    assert parsed.document == [2]
    assert parsed.thought == "first ```json\n[1]\n``` no"
    assert not parsed.outside


def test_two_think_blocks_are_one_too_many() -> None:
    parsed = parse_completion(thoughtful(thoughtful("```json\n1\n```")), think_prefilled=False)
    assert parsed.thought == THOUGHT
    assert parsed.outside.strip() == f"<think>{THOUGHT}</think>"


def test_prefilled_thinking_starts_inside_the_block() -> None:
    parsed = parse_completion(f"{THOUGHT}</think>\n```json\n1\n```", think_prefilled=True)
    assert parsed.thought is not None
    assert parsed.thought.strip() == THOUGHT
    assert not parsed.outside


def test_a_block_never_closed_is_outside_text() -> None:
    parsed = parse_completion("<think>hm ```json\n1\n```", think_prefilled=False)
    assert parsed.thought is None
    assert parsed.is_think_open
    assert parsed.document == 1
    assert parsed.outside == "<think>hm "


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        pytest.param("\n\t```json\n1\n```  \n", "", id="white-space-only"),
        pytest.param("Sure:```json\n1\n```", "Sure:", id="before"),
        pytest.param("```json\n1\n```.", ".", id="behind"),
        pytest.param("<think>a</think>b```json\n1\n```", "b", id="between"),
        pytest.param("a<think>b</think>```json\n1\n```", "a", id="before-the-block"),
        pytest.param("```json\n1\n```<think>b</think>", "<think>b</think>", id="late-block"),
        pytest.param("</think>```json\n1\n```", "</think>", id="orphan-tag"),
        pytest.param("````json\n1\n```", "`", id="four-ticks"),
        pytest.param("\ufeff```json\n1\n```", "\ufeff", id="byte-order-mark"),
        pytest.param("see [1] there", "see  there", id="around-bare"),
    ],
)
def test_outside_text_is_all_but_the_fence_and_the_first_block(text: str, outside: str) -> None:
    assert parse_completion(text, think_prefilled=False).outside == outside


@pytest.mark.parametrize(
    ("text", "is_closed"),
    [
        pytest.param("```json\n[1]\n```", True, id="closed"),
        pytest.param("```json\n[1]\n", False, id="whole-document"),
        pytest.param("```json\n[1, ", False, id="half-a-document"),
        pytest.param("```json\n", False, id="nothing"),
        pytest.param("```json\n[1]\n``", False, id="two-ticks"),
    ],
)
def test_only_a_closed_json_fence_is_parsed(text: str, is_closed: bool) -> None:
    parsed = parse_completion(text, think_prefilled=False)
    assert parsed.is_closed == is_closed
    assert parsed.is_parsed == is_closed
