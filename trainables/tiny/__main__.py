"""Rebuild ``builtin:tiny``: ``python -m trainables.tiny [--out DIR]``.

Trains tokenizer and model, measures both modes on the validation split, and fails where strict
Pass@1 lies outside the range that leaves something to learn.
"""

import sys
from collections.abc import Mapping

from strictune.config import EvaluationSpec
from trainables.tasks.strict_json.data import build_split
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.task import StrictJson
from trainables.tiny.building import Recipe, Summaries, run_build
from trainables.tiny.examples import draw_example
from trainables.tiny.warm_up import WarmUp

DATA_SEED = 1
"""Not the seed that sweeps train on by default; evaluation families are disjoint under any."""
NUM_PROMPTS = 40000

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


def card_values(summaries: Summaries) -> Mapping[str, object]:
    """Return what was measured, for the card."""
    rows = []
    for thinking, summary in summaries.items():
        for difficulty, rates in {"all": summary["criteria"], **summary["by_difficulty"]}.items():
            cells = " | ".join(f"{rate:.1%}" for rate in rates.values())
            rows.append(f"| {'on' if thinking else 'off'} | {difficulty} | {cells} |")
    return {"prompts": summaries[False]["num_prompts"], "rows": "\n".join(rows)}


RECIPE = Recipe(
    model="builtin:tiny",
    draw_prompts=lambda: build_split("train", seed=DATA_SEED, num_prompts=NUM_PROMPTS),
    draw_example=draw_example,
    phases=(
        WarmUp(num_steps=1500, sloppy_frac=0.5, sloppy_from=0.7, seed=0),
        # The decayed rates of the first phase let the flaws be seen, but hardly learned.
        WarmUp(num_steps=250, sloppy_frac=0.6, sloppy_from=0.0, seed=1, peak=0.3),
    ),
    task=StrictJson(StrictJsonSettings()),
    modes=(False, True),
    sampling=EvaluationSpec(
        samples_per_prompt=1, temperature=1.0, top_p=1.0, max_new_tokens=320, batch_size=140
    ),
    criterion="strict",
    allowed=(0.10, 0.60),
    card=card_values,
    card_template=CARD,
)

if __name__ == "__main__":
    sys.exit(run_build(RECIPE, module="trainables.tiny", about=__doc__))
