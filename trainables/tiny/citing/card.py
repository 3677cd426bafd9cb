"""The card of the tiny model that cites: what it is, how it was warmed up, what it can do."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.tiny.card import phase_table
from trainables.tiny.citing.examples import FLAWS
from trainables.tiny.warm_up import WarmUp

__all__ = ["card_text"]

CARD = """\
# builtin:tiny_citing

A Llama of {parameters:,} parameters (hidden 192, 3 layers) with its own byte-level BPE
vocabulary, stored in bfloat16. It makes a sweep of the task refiner run in minutes on two cores,
without a model hub and without a judge's server.

## How it was warmed up

From random weights on gold answers to made-up rows of the training split; sources of the
validation and test splits were never seen. Some answers got one deliberate flaw:

- {flaws}

{phases}

    make tiny

rebuilds it, up to the rounding of another machine or thread count.

## What it can do

Measured when it was built: validation split, {prompts} prompts, one sample, temperature 1,
no nucleus, NF4, the offline judge that counts words.

| {criteria} | rubric mean | citation F1 | invalid ids |
|{rule}
| {rates} | {rubric_mean:.2f} | {citation_f1:.2f} | {invalid:.0%} |

## What it is not

It is no language model: it knows only this kind of prompt. Part of what GRPO gains on it is the
planted sloppiness un-learned, so a sweep on it shows that the path works, and nothing about
judges or refiners. For that, use a real model, real rows and a real judge.
"""


def card_text(
    phases: Sequence[WarmUp],
    efforts: Sequence[Mapping[str, float]],
    summary: Mapping[str, Any],
    *,
    num_parameters: int,
) -> str:
    """Return the card as Markdown, with the rates that were measured when it was built."""
    criteria, measures = summary["criteria"], summary["measures"]
    return CARD.format(
        parameters=num_parameters,
        flaws="\n- ".join(FLAWS),
        phases=phase_table(phases, efforts),
        prompts=summary["num_prompts"],
        criteria=" | ".join(criteria),
        rule="---|" * (len(criteria) + 3),
        rates=" | ".join(f"{rate:.1%}" for rate in criteria.values()),
        rubric_mean=measures["rubric_mean"],
        citation_f1=measures["citation_f1"],
        # Absent where no answer cites anything.
        invalid=measures.get("invalid_id_frac", math.nan),
    )
