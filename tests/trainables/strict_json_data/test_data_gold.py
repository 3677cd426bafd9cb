"""Gold documents conform, and the words around them are as promised."""

import json
from random import Random
from typing import Any

import jsonschema
import pytest

from trainables.tasks.strict_json.data import SPLITS, build_splits
from trainables.tasks.strict_json.prompts import (
    THINK_OPENING,
    gold_completion,
    system_prompt,
    think_text,
)

SPLIT_PROMPTS = build_splits(seed=0, num_train_prompts=450, num_eval_prompts=240)
PROMPTS = [prompt for split in SPLITS for prompt in SPLIT_PROMPTS[split]]


def test_gold_documents_conform_by_the_reference_validator() -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    for prompt in PROMPTS:
        schema = json.loads(prompt.columns["schema"])
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        validator.validate(json.loads(prompt.gold or ""))


def test_gold_documents_come_on_one_line_and_indented() -> None:
    golds = [prompt.gold or "" for prompt in PROMPTS]
    indented = sum("\n" in gold for gold in golds)
    assert 0.1 < indented / len(golds) < 0.4


@pytest.mark.parametrize("thinking", [False, True], ids=["no-think", "think"])
def test_system_prompt_is_short_and_shows_no_sample(thinking: bool) -> None:
    text = system_prompt(thinking=thinking)
    assert len(text.split()) < 60
    assert "```json" in text
    assert not any(sign in text for sign in "{}[]")
    assert ("<think>" in text) == thinking


def test_thoughts_are_real_and_vary() -> None:
    thoughts = [think_text(prompt.columns["schema"], rng=Random(prompt.id)) for prompt in PROMPTS]
    for thought in thoughts:
        assert len(thought) >= 10
        assert len(set(thought.split())) >= 3
        assert "<" not in thought
        assert len(thought) < 400
    assert len({thought.split(" ")[0] for thought in thoughts}) >= 3


def test_thought_names_the_keys_of_the_schema() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 3},
            "tags": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
        },
    }
    thought = think_text(schema, rng=Random(0))
    assert 'one JSON object with 2 keys, "age" integer min 3' in thought
    assert '"tags" array of exactly 2, each string.' in thought


def test_prefilled_completion_goes_on_where_the_prompt_ends() -> None:
    whole = gold_completion("{}", thinking=True, think_text="An empty object.")
    rest = gold_completion("{}", thinking=True, think_text="An empty object.", think_prefilled=True)
    assert whole == THINK_OPENING + rest
    assert whole == "<think>\nAn empty object.\n</think>\n```json\n{}\n```"


def test_completion_without_thinking_is_one_fence() -> None:
    assert gold_completion("[1]", thinking=False) == "```json\n[1]\n```"


def test_thinking_without_a_thought_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a think_text"):
        gold_completion("{}", thinking=True)
