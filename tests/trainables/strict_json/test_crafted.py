"""Crafted answers of strict_json: the gold answer is right, and each trick earns its reward."""

import pytest

from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.task import StrictJson
from trainables.tasks.task import GOLD, Attempt, Prompt

TASK = StrictJson(StrictJsonSettings())
PROMPTS = TASK.prompts("validation")[:12]


@pytest.mark.parametrize("thinking", [False, True], ids=["plain", "thinking"])
@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.id)
def test_gold_and_minified_are_strict_and_chatter_and_padding_are_not(
    prompt: Prompt, thinking: bool
) -> None:
    crafted = TASK.crafted_answers(prompt, thinking=thinking)
    is_strict = {
        name: TASK.score(Attempt(text, prompt, False, False), thinking=thinking).criteria["strict"]
        for name, text in crafted.items()
    }
    right = {name for name, holds in is_strict.items() if holds}
    # A schema may accept the empty object, or a schema's own text.
    assert right - {"empty object", "copied schema"} == {GOLD, "minified"}


@pytest.mark.parametrize(
    ("name", "component"),
    [
        pytest.param("empty object", "validity", id="empty-object"),
        pytest.param("fence only", "format", id="fence-only"),
        pytest.param("padded think", "schema", id="padded-think"),
        pytest.param("copied schema", "strictness", id="copied-schema"),
        pytest.param("chatty", "schema", id="chatty"),
    ],
)
def test_each_crafted_answer_takes_a_component_to_its_maximum(name: str, component: str) -> None:
    for thinking in (False, True):
        text = TASK.crafted_answers(PROMPTS[0], thinking=thinking)[name]
        score = TASK.score(Attempt(text, PROMPTS[0], False, False), thinking=thinking)
        assert score.rewards[component] == 1.0


def test_a_prompt_without_a_gold_document_has_no_crafted_answers() -> None:
    prompt = Prompt(id="p", text="", family="f", difficulty="simple", columns={"schema": "{}"})
    assert TASK.crafted_answers(prompt, thinking=False) == {}
