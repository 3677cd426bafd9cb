"""Completions made to earn rewards without answering, as seen in trained models.

Each is cheap for a model and takes some component to its maximum. The scorer decides whether it is
right: a schema may accept the empty object, and a minified gold document is strict.
"""

import json
from collections.abc import Mapping
from random import Random

from trainables.tasks.strict_json.completion import THINK_CLOSE, THINK_OPEN
from trainables.tasks.strict_json.prompts import gold_completion, think_text
from trainables.tasks.task import GOLD, Prompt

__all__ = ["crafted_answers"]

NUM_FILLERS = 60
_FILLER = "think more "


def crafted_answers(prompt: Prompt, *, thinking: bool) -> Mapping[str, str]:
    """Return the gold answer and six crafted answers; empty without a gold document."""
    if prompt.gold is None:
        return {}
    schema = prompt.columns["schema"]
    thought = think_text(schema, rng=Random(prompt.id)) if thinking else ""

    def answer(document: str) -> str:
        return gold_completion(document, thinking=thinking, think_text=thought)

    gold = answer(prompt.gold)
    fence = gold_completion(prompt.gold, thinking=False)
    minified = json.dumps(json.loads(prompt.gold), separators=(",", ":"), ensure_ascii=False)
    return {
        GOLD: gold,
        "empty object": answer("{}"),
        "fence only": answer(""),
        "padded think": f"{THINK_OPEN}\n{_FILLER * NUM_FILLERS}\n{THINK_CLOSE}\n{fence}",
        "copied schema": answer(schema),
        "minified": answer(minified),
        "chatty": f"{gold}\nHere is the JSON document you asked for. Let me know what to change!",
    }
