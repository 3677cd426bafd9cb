"""The fixed text around an instruction, and fully correct completions.

The system prompts are short, to fit a tiny model's context, and show no example of a fence or think
block, because models imitate examples.
"""

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from trainables.tasks.task import Prompt

__all__ = ["THINK_OPENING", "gold_completion", "gold_of", "system_prompt", "think_text"]

THINK_OPENING = "<think>\n"
"""The end of a prompt that opens the think block."""

_SYSTEM_PROMPTS = {
    False: (
        "You write JSON. Answer with exactly one ```json code block and nothing else. "
        "Follow every rule of the request."
    ),
    True: (
        "You write JSON. First think briefly between <think> and </think>. Then answer with "
        "exactly one ```json code block and nothing else. Follow every rule of the request."
    ),
}

_THINK_WORDINGS = (
    "I need {parts}.",
    "The request asks for {parts}.",
    "Plan: {parts}.",
    "Check the rules: {parts}.",
)
_MAX_PARTS = 6
"""Maximum number of notes in a thought; a larger schema is noted only in part."""
_EACH = "#each"
"""Stands for the key of an array's items."""
_NOTED = {
    "minimum": "min {}",
    "maximum": "max {}",
    "exclusiveMinimum": "above {}",
    "multipleOf": "multiple of {}",
    "minLength": "min length {}",
    "maxLength": "max length {}",
    "pattern": "of a fixed form",
}


def system_prompt(*, thinking: bool) -> str:
    """Return the text of the system message."""
    return _SYSTEM_PROMPTS[thinking]


def gold_completion(
    gold: str, *, thinking: bool, think_text: str = "", think_prefilled: bool = False
) -> str:
    """Wrap a gold document into a fully correct completion.

    Args:
        gold: JSON text, as in ``Prompt.gold``.
        thinking: Whether to put a think block before the fence.
        think_text: The content of the block; required with thinking, see ``think_text``.
        think_prefilled: Whether the prompt already ends with ``THINK_OPENING``, so that the
            completion starts inside the block.
    """
    fence = f"```json\n{gold}\n```"
    if not thinking:
        return fence
    if not think_text.strip():
        raise ValueError("gold_completion(thinking=True) needs a think_text, e.g. think_text(...)")
    opening = "" if think_prefilled else THINK_OPENING
    return f"{opening}{think_text}\n</think>\n{fence}"


def gold_of(prompt: Prompt, *, thinking: bool) -> str | None:
    """Return the gold completion of a generated prompt; None without a gold document.

    With thinking it includes a note of what the instruction asks for, always the same for a
    prompt. The note is generated: it shows the form of a think block, not how to reason.
    """
    if prompt.gold is None:
        return None
    thought = think_text(prompt.columns["schema"], rng=Random(prompt.id)) if thinking else ""
    return gold_completion(
        prompt.gold, thinking=thinking, think_text=thought, think_prefilled=thinking
    )


def think_text(schema: str | Mapping[str, Any], *, rng: Random) -> str:
    """Return a short thought about a generated schema: its keys and limits as notes."""
    parsed = json.loads(schema) if isinstance(schema, str) else schema
    parts = list(_notes(parsed, ""))
    more = ["and the rest"] if len(parts) > _MAX_PARTS else []
    return rng.choice(_THINK_WORDINGS).format(parts=", ".join(parts[:_MAX_PARTS] + more))


def _notes(schema: Mapping[str, Any], key: str) -> Iterator[str]:
    """Yield one note for each value, from the outside in."""
    name = "one JSON " if not key else "each " if key == _EACH else f'"{key}" '
    if "properties" in schema:
        yield f"{name}object with {len(schema['properties'])} keys"
        for member, child in schema["properties"].items():
            yield from _notes(child, member)
    elif schema.get("type") == "array":
        yield f"{name}array{_size(schema, 'Items')}"
        yield from _notes(schema.get("items", {}), _EACH)
    elif schema.get("type") == "object":
        yield f"{name}object with free keys{_size(schema, 'Properties')}"
    else:
        yield f"{name}{_value(schema)}"


def _size(schema: Mapping[str, Any], noun: str) -> str:
    low, high = schema.get(f"min{noun}"), schema.get(f"max{noun}")
    if low is None and high is None:
        return ""
    if low == high:
        return f" of exactly {low}"
    bounds = [f"at least {low}"] if low is not None else []
    bounds += [f"at most {high}"] if high is not None else []
    return f" of {' and '.join(bounds)}"


def _value(schema: Mapping[str, Any]) -> str:
    for keyword in ("const", "format"):
        if keyword in schema:
            return str(schema[keyword])
    if "enum" in schema:
        return "from a list"
    names = schema.get("type", "value")
    text = " or ".join(names) if isinstance(names, list) else str(names)
    limits = [note.format(schema[word]) for word, note in _NOTED.items() if word in schema]
    return " ".join([text, *limits])
