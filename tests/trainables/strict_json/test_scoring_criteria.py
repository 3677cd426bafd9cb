"""The ladder: what each criterion asks, and that each implies the one before."""

import pytest
from scoring_material import GOLD_BOOK, THOUGHT, fenced, scored, thoughtful

from trainables.tasks.strict_json.criteria import CRITERIA

WRONG_BOOK = {"title": "Utopia"}


def _highest(criteria: dict[str, bool]) -> str:
    """Return the highest criterion from ``parsed`` on, checking that none below is missing."""
    ladder = [name for name in CRITERIA[1:] if criteria[name]]
    assert ladder == list(CRITERIA[1 : 1 + len(ladder)])
    return ladder[-1] if ladder else "none"


@pytest.mark.parametrize(
    ("completion", "thinking", "highest"),
    [
        pytest.param(fenced(GOLD_BOOK), False, "strict", id="gold"),
        pytest.param(
            f"\n{fenced(GOLD_BOOK, indent=2)}\n", False, "strict", id="white-space-around"
        ),
        pytest.param(thoughtful(fenced(GOLD_BOOK)), True, "strict", id="gold-with-thinking"),
        pytest.param(thoughtful(fenced(GOLD_BOOK)), False, "clean", id="uninvited"),
        pytest.param(thoughtful(fenced(GOLD_BOOK), ""), False, "clean", id="uninvited-but-empty"),
        pytest.param(fenced(GOLD_BOOK), True, "clean", id="think-block-missing"),
        pytest.param(thoughtful(fenced(GOLD_BOOK), "ok"), True, "clean", id="too-short"),
        pytest.param(
            thoughtful(fenced(GOLD_BOOK), "think think think think"), True, "clean", id="one-word"
        ),
        pytest.param(
            thoughtful(fenced(GOLD_BOOK), "Your reasoning here"), True, "clean", id="placeholder"
        ),
        pytest.param(
            thoughtful(fenced(GOLD_BOOK), "[your reasoning here] [Your Reasoning Here]"),
            True,
            "clean",
            id="placeholder-twice",
        ),
        pytest.param(
            thoughtful(fenced(GOLD_BOOK), f"My reasoning here: {THOUGHT}"),
            True,
            "strict",
            id="more-than-a-placeholder",
        ),
        pytest.param(
            thoughtful(
                fenced(GOLD_BOOK), "\u9700\u8981\u6807\u9898\u548c\u5e74\u4efd\u5b57\u6bb5\u3002"
            ),
            True,
            "strict",
            id="a-language-without-spaces",
        ),
        pytest.param(f"Here:\n{fenced(GOLD_BOOK)}", False, "conformant", id="text-before"),
        pytest.param(f"{fenced(GOLD_BOOK)}\nDone.", False, "conformant", id="text-behind"),
        pytest.param(fenced(GOLD_BOOK) * 2, False, "conformant", id="two-fences"),
        pytest.param(
            thoughtful(thoughtful(fenced(GOLD_BOOK))), True, "conformant", id="two-think-blocks"
        ),
        pytest.param(
            f"{fenced(GOLD_BOOK)}<think>{THOUGHT}</think>", True, "conformant", id="late-thinking"
        ),
        pytest.param(fenced(WRONG_BOOK), False, "parsed", id="wrong-document"),
        pytest.param(fenced('{"title": }'), False, "none", id="not-json"),
        pytest.param(fenced(GOLD_BOOK)[:-3], False, "none", id="unclosed"),
        pytest.param('{"title": "Utopia", "year": 1516, "tags": []}', False, "none", id="bare"),
        pytest.param("", False, "none", id="empty"),
    ],
)
def test_a_completion_stands_on_its_criterion(
    completion: str, thinking: bool, highest: str
) -> None:
    assert _highest(dict(scored(completion, thinking=thinking).criteria)) == highest


@pytest.mark.parametrize(
    ("completion", "strict"),
    [
        pytest.param(f"{THOUGHT}</think>\n{fenced(GOLD_BOOK)}", True, id="goes-on-thinking"),
        pytest.param(f"<think>{THOUGHT}</think>\n{fenced(GOLD_BOOK)}", True, id="opens-it-again"),
        pytest.param(fenced(GOLD_BOOK), False, id="never-closes-it"),
        pytest.param(f"</think>{fenced(GOLD_BOOK)}", False, id="closes-it-at-once"),
    ],
)
def test_a_prefilled_think_tag_is_put_back(completion: str, strict: bool) -> None:
    score = scored(completion, thinking=True, think_prefilled=True)
    assert score.criteria["strict"] == strict
    assert score.is_thinking == strict


@pytest.mark.parametrize(
    ("completion", "accepted"),
    [
        pytest.param("```json\n[1]\n```", True, id="json-fence"),
        pytest.param("```JSON\n[1]\n```", False, id="upper-case-is-another-fence"),
        pytest.param("<think>```json\n[1]\n```</think>", True, id="inside-thinking"),
        pytest.param("```json\n[1]\n", False, id="unclosed"),
        pytest.param("```\n[1]\n```", True, id="other-fence"),
        pytest.param("```python\n[1]\n```", False, id="language-counts-as-content"),
        pytest.param(" [1] ", True, id="bare"),
        pytest.param("So: [1]", False, id="bare-behind-text"),
        pytest.param("<think>x</think>[1]", True, id="bare-behind-thinking"),
        pytest.param("7", False, id="bare-scalar"),
        pytest.param("```json\n7\n```", True, id="fenced-scalar"),
        pytest.param("```json\n[NaN, 1e999]\n```", True, id="not-finite"),
        pytest.param('```json\n["\\ud800"]\n```', True, id="lone-surrogate"),
        pytest.param('```json\n["use ``` here"]\n```', False, id="ticks-end-the-fence"),
        pytest.param("```json\n\u00a0[1]\n```", True, id="any-white-space"),
        pytest.param(f"```json\n{'[' * 3000}\n```", False, id="3000-brackets"),
        pytest.param(f"```json\n{'9' * 5000}\n```", False, id="5000-digits"),
    ],
)
def test_syntax_is_the_published_measure(completion: str, accepted: bool) -> None:
    assert scored(completion).criteria["syntax"] == accepted
