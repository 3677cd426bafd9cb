"""Chat templates of every habit lead to the right text."""

import pytest
from tiny_llama import CHATML, DROPS_SYSTEM, GEMMA, character_tokenizer

from strictune.errors import TrialError
from trainables.prompting import chat_template_hash, end_of_turn_id, render_prompt
from trainables.tasks.task import Message

MESSAGES: list[Message] = [
    {"role": "system", "content": "Be strict."},
    {"role": "user", "content": "Write JSON."},
]


def test_thinking_opens_the_think_block() -> None:
    rendered = render_prompt(character_tokenizer(), MESSAGES, thinking=True)
    assert rendered.think_prefilled
    assert rendered.text.endswith("<|im_start|>assistant\n<think>\n")


def test_without_thinking_nothing_is_opened() -> None:
    rendered = render_prompt(character_tokenizer(), MESSAGES, thinking=False)
    assert not rendered.think_prefilled
    assert rendered.text.endswith("<|im_start|>assistant\n")


def test_a_template_that_opens_the_block_itself_is_not_doubled() -> None:
    tokenizer = character_tokenizer(CHATML + "<think>\n")
    assert render_prompt(tokenizer, MESSAGES, thinking=True).text.count("<think>") == 1


def test_a_block_that_the_template_opens_unasked_is_closed_empty() -> None:
    tokenizer = character_tokenizer(CHATML + "<think>\n")
    rendered = render_prompt(tokenizer, MESSAGES, thinking=False)
    assert not rendered.think_prefilled
    assert rendered.text.endswith("<think>\n\n</think>\n\n")


@pytest.mark.parametrize(
    "template",
    [pytest.param(GEMMA, id="raises"), pytest.param(DROPS_SYSTEM, id="drops-it")],
)
def test_system_text_joins_the_user_turn_where_there_is_no_system_role(template: str) -> None:
    rendered = render_prompt(character_tokenizer(template), MESSAGES, thinking=False)
    assert "Be strict.\n\nWrite JSON." in rendered.text
    assert MESSAGES[1]["content"] == "Write JSON."


@pytest.mark.parametrize("adds_bos", [True, False])
def test_there_is_exactly_one_beginning_of_sequence(adds_bos: bool) -> None:
    tokenizer = character_tokenizer(GEMMA, adds_bos=adds_bos)
    text = render_prompt(tokenizer, MESSAGES, thinking=False).text
    assert tokenizer(text)["input_ids"].count(tokenizer.bos_token_id) == 1


def test_a_model_without_template_is_refused() -> None:
    with pytest.raises(TrialError, match="no chat template"):
        render_prompt(character_tokenizer(None), MESSAGES, thinking=False)


def test_template_hash_tells_templates_apart() -> None:
    assert chat_template_hash(character_tokenizer(CHATML)) != chat_template_hash(
        character_tokenizer(GEMMA)
    )


@pytest.mark.parametrize(
    ("template", "end"),
    [
        pytest.param(CHATML, "<|im_end|>", id="end-of-sequence"),
        pytest.param(CHATML.replace("<|im_end|>", "<bos>"), "<bos>", id="a-stop-token-of-its-own"),
        pytest.param(DROPS_SYSTEM, "<|im_end|>", id="none-in-the-template"),
    ],
)
def test_an_answer_ends_as_the_template_ends_it(template: str, end: str) -> None:
    tokenizer = character_tokenizer(template)
    stop_ids = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<bos>"])
    assert end_of_turn_id(tokenizer, stop_ids) == tokenizer.convert_tokens_to_ids(end)
