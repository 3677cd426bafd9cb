"""Two cells that differ in one key: what they are called by it, and what lies between them.

The declared contrasts and the report's comparisons are both made of this; verdicts, Holm
families and rows are theirs.
"""

from collections.abc import Sequence

from analysis.cells import stack
from analysis.differences import MIN_SEEDS, Difference, paired_difference, recipe_difference
from analysis.families import Floats
from analysis.measured import Measured, check_comparable
from analysis.records import PlannedTrial
from strictune.config.naming import short_model_name
from strictune.errors import SpecError

__all__ = [
    "FACTORS",
    "comparison_problem",
    "differing_factors",
    "level_text",
    "level_texts",
    "seed_gains",
    "seeded_difference",
]

FACTORS = ("model", "thinking", "curriculum", "method", "variant")
"""The keys that make a cell."""


def differing_factors(first: PlannedTrial, second: PlannedTrial) -> list[str]:
    """Return the keys in which the cells of two trials differ."""
    return [key for key in FACTORS if getattr(first, key) != getattr(second, key)]


def level_text(plan: PlannedTrial, factor: str) -> str:
    """Return what a cell is called by one of its keys, e.g. ``no-think``."""
    if factor == "thinking":
        return "think" if plan.thinking else "no-think"
    if factor == "model":
        return short_model_name(plan.model)
    return str(getattr(plan, factor) or "own settings")


def level_texts(ours: PlannedTrial, theirs: PlannedTrial, factor: str) -> tuple[str, str]:
    """Return what two cells are called by the key in which they differ.

    Models whose short names are equal keep their full ones.
    """
    texts = level_text(ours, factor), level_text(theirs, factor)
    if texts[0] == texts[1]:
        return str(getattr(ours, factor)), str(getattr(theirs, factor))
    return texts


def comparison_problem(runs: Sequence[Measured]) -> str | None:
    """Say why runs cannot all be compared with each other; None if they can."""
    try:
        for run in runs[1:]:
            check_comparable(run, runs[0], is_gain=False)
    except SpecError as error:
        return str(error)
    return None


def seed_gains(
    trials: Sequence[Measured], baselines: Sequence[Measured], rung: str
) -> Floats | None:
    """Return what each seed of a cell gained on each prompt: (S, P).

    Args:
        trials: The cell's finished trials.
        baselines: Of those that have one.
        rung: The primary one.

    Returns:
        None unless all of them share one baseline: gains of fewer seeds than the rates beside
        them would speak of other runs.
    """
    if len(baselines) < len(trials) or len({run.record.folder for run in baselines}) > 1:
        return None
    return stack(trials, rung) - baselines[0].rung(rung)


def seeded_difference(ours: Floats, theirs: Floats, families: list[str]) -> Difference:
    """Compare recipes where seeds allow it, else only these runs: (S, P), (S, P)."""
    if min(len(ours), len(theirs)) >= MIN_SEEDS:
        return recipe_difference(ours, theirs, families)
    return paired_difference(ours.mean(axis=0), theirs.mean(axis=0), families)
