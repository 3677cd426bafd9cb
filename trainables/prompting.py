"""Chat messages to the exact text that a model continues.

One function renders prompts for training, evaluation and the prompt part of the baseline
key, so that all three always see the same text. Tokenizing is left to the caller, which may be
TRL: with a tokenizer of ``load_tokenizer``, ``tokenizer(text)`` gives the right ids. They are the
template's own tokens; in front of them stands once what the tokenizer adds there, usually a
beginning of sequence, whether the template writes it too or not; behind them stands nothing.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import jinja2
from transformers import PreTrainedTokenizerBase

from strictune.errors import TrialError
from trainables.special_tokens import added_tokens
from trainables.tasks.task import Message

__all__ = [
    "NO_THOUGHT",
    "RenderedPrompt",
    "TemplatedPrompt",
    "apply_template",
    "chat_template_hash",
    "end_of_turn_id",
    "front_tokens",
    "render_prompt",
    "think_ending",
]

THINK_OPENING = "<think>\n"
"""What the prompt ends with when thinking is on: the model starts inside the block."""
NO_THOUGHT = "\n\n</think>\n\n"
"""What makes an opened block an empty one."""


class TemplatedPrompt(NamedTuple):
    """What a chat template makes of messages."""

    messages: list[dict[str, str]]
    """As the template takes them: the system text may be at the head of the first user turn."""
    text: str


class RenderedPrompt(NamedTuple):
    """A prompt as the model sees it."""

    text: str
    think_prefilled: bool
    """The prompt opened the think block; scoring puts the opening tag back."""


def render_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, thinking: bool
) -> RenderedPrompt:
    """Apply the model's own chat template and, with thinking on, open the think block.

    A template that opens the block whether it is asked to or not (DeepSeek-R1's distillations)
    gets an empty one with thinking off, as Qwen3's own template writes it.

    Raises:
        TrialError: The tokenizer has no chat template.
    """
    text = apply_template(tokenizer, messages, thinking=thinking).text
    ending = think_ending(text, thinking=thinking)
    if ending == NO_THOUGHT:
        text = text.rstrip()
    # Gemma's template writes <bos> and its tokenizer adds another one.
    text = text.removeprefix(front_tokens(tokenizer)) + ending
    return RenderedPrompt(text, think_prefilled=thinking)


def think_ending(text: str, *, thinking: bool) -> str:
    """Return what follows a template's text: for ``NO_THOUGHT`` without blanks in between."""
    is_open = text.rstrip().endswith(THINK_OPENING.strip())
    if thinking:
        return "" if is_open else THINK_OPENING
    return NO_THOUGHT if is_open else ""


def front_tokens(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return as text what the tokenizer puts in front of every text."""
    return "".join(tokenizer.convert_ids_to_tokens(added_tokens(tokenizer).before))


def apply_template(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, thinking: bool
) -> TemplatedPrompt:
    """Apply the model's chat template, in the form in which it takes the messages.

    A template that has no place for a system role (Gemma 2 raises, others drop it) gets the
    system text at the head of the first user turn.

    Raises:
        TrialError: The tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise TrialError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template; strictune needs an "
            "instruction-tuned model. Choose one, or add chat_template.jinja to the model folder."
        )
    plain: list[dict[str, str]] = [
        {"role": message["role"], "content": message["content"]} for message in messages
    ]
    merged = _merge_system(plain)
    try:
        text = _template_text(tokenizer, plain, thinking=thinking)
    except jinja2.TemplateError:
        return TemplatedPrompt(merged, _template_text(tokenizer, merged, thinking=thinking))
    if plain[0]["role"] == "system" and plain[0]["content"].strip() not in text:
        return TemplatedPrompt(merged, _template_text(tokenizer, merged, thinking=thinking))
    return TemplatedPrompt(plain, text)


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase, stop_ids: Collection[int]) -> int:
    """Return the token that ends an answer in the model's own chat template.

    Templates differ from tokenizers in it: Gemma's turns end with ``<end_of_turn>``, its
    sequences with ``<eos>``. A template that ends answers with no token that stops generation
    gets the end of sequence.

    Args:
        tokenizer: The model's.
        stop_ids: The tokens that end a completion.
    """
    answer = "ANSWER"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}], tokenize=False
    )
    behind = tokenizer(str(text).rpartition(answer)[2], add_special_tokens=False)["input_ids"]
    return int(next((token for token in behind if token in stop_ids), tokenizer.eos_token_id))


def chat_template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 of the chat template, for the baseline key."""
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else repr(template)
    return hashlib.sha256(text.encode()).hexdigest()


def _template_text(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], *, thinking: bool
) -> str:
    rendered = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=False,
        add_generation_prompt=True,
        # Read by hybrid templates such as Qwen 3's; the others ignore it.
        enable_thinking=thinking,
    )
    return str(rendered)


def _merge_system(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    if messages[0]["role"] != "system" or len(messages) < 2:
        return [dict(message) for message in messages]
    merged = f"{messages[0]['content']}\n\n{messages[1]['content']}"
    return [{"role": messages[1]["role"], "content": merged}, *map(dict, messages[2:])]
