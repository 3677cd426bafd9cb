"""Rebuild ``builtin:tiny_citing``: ``python -m trainables.tiny.citing [--out DIR]``.

Trains tokenizer and model on made-up rows of the refiner, measures it on the validation split
with the offline judge, and fails where its rate on the task's primary criterion lies outside the
range that leaves something to learn.
"""

import math
import sys
from collections.abc import Mapping

from strictune.config import EvaluationSpec
from trainables.tasks.refiner.data import build_split
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.refiner.task import Refiner
from trainables.tiny.building import Recipe, Summaries, run_build
from trainables.tiny.citing.examples import FLAWS, draw_citing_example
from trainables.tiny.warm_up import WarmUp

DATA = RefinerSettings(kind="refiner", data_seed=1, num_train_rows=40_000)
"""Not the seed that sweeps train on by default; sources of evaluation rows are never seen."""

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


def card_values(summaries: Summaries) -> Mapping[str, object]:
    """Return what was measured, for the card."""
    summary = summaries[False]
    criteria, measures = summary["criteria"], summary["measures"]
    return {
        "flaws": "\n- ".join(FLAWS),
        "prompts": summary["num_prompts"],
        "criteria": " | ".join(criteria),
        "rule": "---|" * (len(criteria) + 3),
        "rates": " | ".join(f"{rate:.1%}" for rate in criteria.values()),
        "rubric_mean": measures["rubric_mean"],
        "citation_f1": measures["citation_f1"],
        # Absent where no answer cites anything.
        "invalid": measures.get("invalid_id_frac", math.nan),
    }


RECIPE = Recipe(
    model="builtin:tiny_citing",
    draw_prompts=lambda: build_split("train", DATA),
    draw_example=draw_citing_example,
    phases=(
        WarmUp(num_steps=700, sloppy_frac=0.5, sloppy_from=0.7, tokens_per_batch=4096),
        # The decayed rates of the first phase let the flaws be seen, but hardly learned.
        WarmUp(
            num_steps=120, sloppy_frac=0.6, sloppy_from=0.0, seed=1, peak=0.3, tokens_per_batch=4096
        ),
    ),
    task=Refiner(RefinerSettings(kind="refiner")),
    modes=(False,),
    sampling=EvaluationSpec(
        samples_per_prompt=1, temperature=1.0, top_p=1.0, max_new_tokens=120, batch_size=120
    ),
    criterion="satisfied",
    allowed=(0.10, 0.60),
    card=card_values,
    card_template=CARD,
)

if __name__ == "__main__":
    sys.exit(run_build(RECIPE, module="trainables.tiny.citing", about=__doc__))
