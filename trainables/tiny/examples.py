"""Supervised examples for the tiny model: gold answers, and answers made sloppy on purpose."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from trainables.tasks.strict_json.prompts import gold_completion, system_prompt, think_text
from trainables.tasks.task import Message, Prompt

__all__ = ["Example", "draw_example"]

PROSE_BEFORE = (
    "Here is the JSON:\n\n",
    "Sure! Here is the document.\n\n",
    "The answer is below.\n",
)
PROSE_AFTER = (
    "\n\nLet me know if you need more.",
    "\nThis document follows the rules.",
    "\n\nI hope this helps!",
)


class Example(NamedTuple):
    """One conversation."""

    messages: Sequence[Message]
    thinking: bool
    completion: str
    """What follows the rendered prompt, without the end token."""


def draw_example(prompt: Prompt, rng: random.Random, *, sloppy_frac: float) -> Example:
    """Put a prompt to the model with its gold answer, thinking in half of the cases.

    A share of ``sloppy_frac`` gets one flaw instead: prose around the fence, another fence or
    none, a document that lacks a key or has a wrong value, or, with thinking, no thought.
    """
    thinking = rng.random() < 0.5
    schema = prompt.columns["schema"]
    assert prompt.gold is not None
    thought = think_text(schema, rng=rng) if thinking else ""
    document = prompt.gold
    wrap: Callable[[str], str] = str
    if rng.random() < sloppy_frac:
        flaw = rng.choice(("before", "after", "fence", "document", "thought"))
        if flaw == "before" and not thinking:
            wrap = rng.choice(PROSE_BEFORE).__add__
        elif flaw in ("before", "after"):
            prose = rng.choice(PROSE_AFTER)
            wrap = lambda text: text + prose  # noqa: E731 - one of several one-line flaws
        elif flaw == "fence":
            fence = rng.choice(("```\n", ""))
            wrap = lambda text: _refence(text, fence)  # noqa: E731
        elif flaw == "thought" and thinking:
            thought = "..."
        else:
            document = _damage(document, rng)
    completion = gold_completion(
        document, thinking=thinking, think_text=thought, think_prefilled=thinking
    )
    messages: list[Message] = [
        {"role": "system", "content": system_prompt(thinking=thinking)},
        {"role": "user", "content": prompt.text},
    ]
    return Example(messages, thinking, wrap(completion))


def _refence(text: str, fence: str) -> str:
    head, _, rest = text.partition("```json\n")
    return head + fence + (rest if fence else rest.removesuffix("\n```"))


def _damage(document: str, rng: random.Random) -> str:
    """Return the document with one member dropped or one value of another type."""
    value: Any = json.loads(document)
    target = rng.choice(value) if isinstance(value, list) and value else value
    if isinstance(target, dict) and target:
        key = rng.choice(list(target))
        if rng.random() < 0.5:
            del target[key]
        else:
            target[key] = rng.choice((None, "none", 0, True))
    elif isinstance(value, list) and value:
        value.pop()
    return json.dumps(value)
