"""Which adapter of a sweep may call itself the best of its base model, and on what grounds.

Only verdicts count. A candidate must be better than its baseline; among several the one with
the best validation rate is taken, so that the final split, on which the verdict stands, has not
chosen it. It replaces an earlier best only where a paired comparison of the two says better.
"""

from dataclasses import dataclass
from pathlib import Path

from analysis.compare import compare_runs
from analysis.records import TRIALS, last_value
from analysis.sweep import SweepVerdicts
from analysis.trials import TrialVerdict
from analysis.verdicts import Word
from strictune.errors import SpecError

__all__ = ["Challenge", "best_adapters", "challenge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Whether an adapter takes the place of the best one so far."""

    is_better: bool
    text: str
    """The verdict, or why there is none."""


def best_adapters(verdicts: SweepVerdicts, sweep_dir: Path) -> dict[str, TrialVerdict]:
    """Return for each base model the trial that may be its best, if a verdict says better.

    Trials without a validation rate are left out. Of equal rates the first in the plan is taken.
    """
    best: dict[str, TrialVerdict] = {}
    rates: dict[str, float] = {}
    for trial in verdicts.trials:
        if trial.verdict.word is not Word.BETTER:
            continue
        rate = last_value(
            sweep_dir / TRIALS / trial.plan.trial_id, f"eval/{verdicts.primary_rung}/pass_at_1"
        )
        if rate is not None and rate > rates.get(trial.plan.model, -1.0):
            best[trial.plan.model], rates[trial.plan.model] = trial, rate
    return best


def challenge(ours: Path, theirs: Path) -> Challenge:
    """Judge an adapter against the best so far, on the final results of both.

    Args:
        ours: Folder of the challenging trial.
        theirs: Folder of the trial that is the best so far; it may lie in another sweep.

    Raises:
        StorageError: A run has no result, or it cannot be read.
    """
    try:
        compared = compare_runs(ours, theirs)
    except SpecError as error:
        return Challenge(is_better=False, text=str(error))
    if "model" in compared.contrast_parts or "model_revision" in compared.contrast_parts:
        return Challenge(is_better=False, text="Their base models are not the same.")
    return Challenge(is_better=compared.verdict.word is Word.BETTER, text=compared.verdict.text)
