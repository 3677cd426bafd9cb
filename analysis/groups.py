"""The one comparison: two groups of runs on the same prompts, whole or in part.

Callers choose the groups: a trial and its baseline, the seeds of two cells, a cell and a control.
With three seeds or more on each trained side the difference is about the recipe, else about these
runs. What a difference is called is decided in ``verdicts``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.differences import MIN_SEEDS, Difference, paired_difference, recipe_difference
from analysis.families import Floats
from analysis.measured import Measured, check_comparable
from strictune.config.naming import short_model_name
from strictune.errors import SpecError
from strictune.records import PlannedTrial

__all__ = [
    "ALL_DIFFICULTIES",
    "FACTORS",
    "Group",
    "average",
    "compare",
    "compare_gains",
    "comparison_problem",
    "differing_factors",
    "group",
    "level_text",
    "level_texts",
    "parts",
]

ALL_DIFFICULTIES = "all"

FACTORS = ("model", "thinking", "curriculum", "method", "variant")
"""The keys that make a cell."""


class Group(NamedTuple):
    """One side of a comparison; S = seeds, P = prompts."""

    families: Sequence[str]
    """Of the prompts."""
    rates: Floats
    """(S, P)"""
    gains: Floats | None = None
    """(S, P), over the baseline; None where the runs do not share one."""
    is_trained: bool = True
    """False: one measurement of an untrained model, which has no seeds."""


def group(
    runs: Sequence[Measured],
    criterion: str,
    *,
    baselines: Sequence[Measured] = (),
    is_trained: bool = True,
) -> Group:
    """Put runs on the same prompts together.

    Args:
        runs: One or more.
        criterion: What they are compared on.
        baselines: Of those runs that have one. Gains are known only where all runs have the same:
            gains of fewer seeds than the rates beside them would speak of other runs.
        is_trained: See ``Group``.
    """
    rates = np.stack([run.criterion(criterion) for run in runs])
    is_shared = len(baselines) == len(runs) and len({b.record.folder for b in baselines}) == 1
    gains = rates - baselines[0].criterion(criterion) if is_shared else None
    return Group(runs[0].families, rates, gains, is_trained)


def average(groups: Sequence[Group]) -> Group:
    """Average groups prompt by prompt to one run; each counts the same, however many seeds."""

    def mean(sides: Sequence[Floats]) -> Floats:
        means = np.stack([side.mean(axis=0) for side in sides])
        return np.asarray(means.mean(axis=0, keepdims=True), dtype=np.float64)

    gains = [found.gains for found in groups if found.gains is not None]
    return Group(
        groups[0].families,
        mean([found.rates for found in groups]),
        mean(gains) if len(gains) == len(groups) else None,
    )


def compare(ours: Group, theirs: Group, *, part: NDArray[np.bool_] | None = None) -> Difference:
    """Return the difference of two groups' rates.

    Args:
        ours: Minuend.
        theirs: Subtrahend, on the same prompts.
        part: Which prompts; None takes all.
    """
    return _compare(ours, theirs, ours.rates, theirs.rates, part)


def compare_gains(
    ours: Group, theirs: Group, *, part: NDArray[np.bool_] | None = None
) -> Difference | None:
    """Return the difference of two groups' gains; None where one of them is not known."""
    if ours.gains is None or theirs.gains is None:
        return None
    return _compare(ours, theirs, ours.gains, theirs.gains, part)


def parts(measured: Measured) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield all prompts, then those of each difficulty, as masks."""
    difficulties = np.asarray(measured.table["difficulty"].astype(str))
    yield ALL_DIFFICULTIES, np.ones(len(difficulties), dtype=bool)
    for name in dict.fromkeys(difficulties.tolist()):
        yield name, difficulties == name


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


def _compare(
    ours: Group, theirs: Group, a: Floats, b: Floats, part: NDArray[np.bool_] | None
) -> Difference:
    families = ours.families
    if part is not None:
        a, b = a[:, part], b[:, part]
        families = np.asarray(families)[part].tolist()
    if min(len(side.rates) for side in (ours, theirs) if side.is_trained) < MIN_SEEDS:
        return paired_difference(a.mean(axis=0), b.mean(axis=0), families)
    if theirs.is_trained:
        return recipe_difference(a, b, families)
    return recipe_difference(a, b[0], families, is_theirs_baseline=True)
