"""How much and how fast a run trained and generated, from its own records."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from strictune.logged_metrics import read_metrics

__all__ = ["TrainingTotals", "tokens_at", "training_totals"]

TOKENS = "train/completion_tokens"


class TrainingTotals(NamedTuple):
    """What a trial's optimizer steps took together; NaN where it was not recorded."""

    completion_tokens: float
    """Tokens of completions that the loss read, each time that it did."""
    seconds: float
    """With GRPO its generation and scoring are in it; evaluations and checkpoints are not."""


def training_totals(folder: Path) -> TrainingTotals:
    """Add up a trial's ``metrics.jsonl``."""
    tokens, seconds, num_steps, before = math.nan, 0.0, 0, 0
    for step, metrics in read_metrics(folder):
        tokens = metrics.get(TOKENS, tokens)
        if "time/step_s" in metrics:
            # The mean over the steps since the line before.
            seconds += metrics["time/step_s"] * (step - before)
            num_steps, before = num_steps + step - before, step
    return TrainingTotals(tokens, seconds if num_steps else math.nan)


def tokens_at(folder: Path, steps: Collection[int]) -> dict[int, float]:
    """Return the completion tokens that a trial had trained on after each of some steps.

    Steps that it has not reached, or for which nothing was recorded, are left out.
    """
    return {
        step: metrics[TOKENS]
        for step, metrics in read_metrics(folder)
        if step in steps and TOKENS in metrics
    }
