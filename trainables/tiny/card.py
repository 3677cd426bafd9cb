"""The tiny model's card: what it is, how it was warmed up, what it can and cannot do."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainables.tiny.warm_up import WarmUp

__all__ = ["card_text", "phase_table"]

CARD = """\
# builtin:tiny

A Llama of {parameters:,} parameters (hidden 192, 3 layers) with its own byte-level BPE
vocabulary, stored in bfloat16. It makes the whole path of a sweep run in minutes on two cores,
without a model hub.

## How it was warmed up

From random weights on gold answers to training families of strict_json, thinking in half of them.
Some answers got one deliberate flaw: prose around the fence, another fence or none, a document
that lacks a key or has a wrong value, or a placeholder for a thought. Families of the validation
and test splits were never seen.

{phases}

    make tiny

rebuilds it, up to the rounding of another machine or thread count.

## What it can do

Measured when it was built: validation split, {prompts} prompts, one sample, temperature 1,
no nucleus, NF4.

| thinking | difficulty | syntax | parsed | conformant | clean | strict |
|---|---|---|---|---|---|---|
{rows}

## What it is not

It is no language model: it knows only this task's kind of prompt. Part of what GRPO gains on it
is the planted sloppiness un-learned, so a sweep on it shows that the path works, not that GRPO
teaches schemas. For that, use a real model.
"""

PHASE_HEAD = """\
| phase | steps | tokens | minutes on two cores | flawed answers | factor on the learning rates |
|---|---|---|---|---|---|"""


def card_text(
    phases: Sequence[WarmUp],
    efforts: Sequence[Mapping[str, float]],
    summaries: Mapping[bool, Mapping[str, Any]],
    *,
    num_parameters: int,
) -> str:
    """Return the card as Markdown, with the rates that were measured when it was built."""
    rows = [
        _row(thinking=thinking, difficulty=difficulty, rates=rates)
        for thinking, summary in summaries.items()
        for difficulty, rates in {"all": summary["criteria"], **summary["by_difficulty"]}.items()
    ]
    return CARD.format(
        parameters=num_parameters,
        phases=phase_table(phases, efforts),
        prompts=summaries[False]["num_prompts"],
        rows="\n".join(rows),
    )


def phase_table(phases: Sequence[WarmUp], efforts: Sequence[Mapping[str, float]]) -> str:
    """Return how a model was warmed up, and what that took, as a Markdown table."""
    pairs = enumerate(zip(phases, efforts, strict=True), start=1)
    rows = [_phase_row(number, phase, effort) for number, (phase, effort) in pairs]
    return "\n".join([PHASE_HEAD, *rows])


def _row(*, thinking: bool, difficulty: str, rates: Mapping[str, float]) -> str:
    cells = " | ".join(f"{rate:.1%}" for rate in rates.values())
    return f"| {'on' if thinking else 'off'} | {difficulty} | {cells} |"


def _phase_row(number: int, phase: WarmUp, effort: Mapping[str, float]) -> str:
    flawed = f"{phase.sloppy_frac:.0%}"
    if phase.sloppy_from:
        flawed += f" in the last {1 - phase.sloppy_from:.0%} of the steps"
    tokens = f"{effort['tokens'] / 1e6:.1f}M"
    minutes = f"{effort['minutes']:.0f}"
    cells = (number, phase.num_steps, tokens, minutes, flawed, phase.peak)
    return f"| {' | '.join(map(str, cells))} |"
