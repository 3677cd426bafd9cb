"""Prompts as a trainer is given them: rendered, and none over the task's token limit."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from strictune.errors import TrialError
from trainables.context import TrialContext
from trainables.prompting import render_prompt
from trainables.tasks.task import Prompt

__all__ = ["TrainingPrompt", "training_prompts"]

logger = logging.getLogger(__name__)


class TrainingPrompt(NamedTuple):
    """One prompt as the model sees it."""

    prompt: Prompt
    text: str
    think_prefilled: bool
    """The text ends inside an open think block."""


def training_prompts(context: TrialContext, prompts: Sequence[Prompt]) -> list[TrainingPrompt]:
    """Render prompts; those over the token limit are dropped.

    Raises:
        TrialError: No prompt is short enough.
    """
    thinking, limit = context.spec.thinking, context.task.max_prompt_tokens
    found = []
    for prompt in prompts:
        messages = context.task.messages(prompt, thinking=thinking)
        text, think_prefilled = render_prompt(context.tokenizer, messages, thinking=thinking)
        if len(context.tokenizer(text)["input_ids"]) <= limit:
            found.append(TrainingPrompt(prompt, text, think_prefilled))
    if not found:
        raise TrialError(
            f"every training prompt has more than {limit} tokens with the tokenizer of "
            f"{context.source.name}."
        )
    if len(found) < len(prompts):
        logger.info(
            "trial=%s dropped %d of %d training prompts with more than %d tokens",
            context.spec.trial_id,
            len(prompts) - len(found),
            len(prompts),
            limit,
        )
    return found
