"""What the points of a study came to, read from the folders of their trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.differences import interval
from analysis.measured import Measured, check_comparable, difference, measure
from analysis.records import last_value, read_run
from strictune.config import ObjectiveSpec
from strictune.records import read_outcome

__all__ = ["Finished", "Unusable", "read_values", "worst_difficulty_pp"]


@dataclass(frozen=True, slots=True)
class Finished:
    """Values of the objectives, each the mean over the point's trials."""

    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A point without values, and why."""

    reason: str


def read_values(
    folders: Sequence[Path], objectives: Sequence[ObjectiveSpec]
) -> Finished | Unusable:
    """Read the objectives of one point from its trials, which have ended."""
    columns: list[list[float]] = [[] for _ in objectives]
    for folder in folders:
        outcome = read_outcome(folder)
        if outcome is None:
            return Unusable(f"{folder.name} has not ended")
        if outcome.state != "FINISHED":
            return Unusable(f"{folder.name} {outcome.state}: {outcome.reason}")
        for column, objective in zip(columns, objectives, strict=True):
            value = last_value(folder, objective.metric)
            if value is None:
                return Unusable(f"{folder.name} has no finite {objective.metric}")
            column.append(value)
    return Finished([math.fsum(column) / len(column) for column in columns])


def worst_difficulty_pp(folders: Sequence[Path], *, criterion: str) -> float:
    """Say by how much the worst difficulty is below the baseline with confidence.

    Returns:
        Percentage points; above 0 only where the upper end of a difficulty's interval lies below
        0. The intervals are Bonferroni's over the difficulties: one of them excludes 0 exactly
        when Holm's first step does.
    """
    worst = -100.0
    for folder in folders:
        trial = measure(read_run(folder))
        baseline = measure(read_run(trial.record.baseline_folder))
        check_comparable(trial, baseline, is_gain=True)
        for high in _upper_ends(trial, baseline, criterion=criterion):
            worst = max(worst, -100 * high)
    return worst


def _upper_ends(trial: Measured, baseline: Measured, *, criterion: str) -> list[float]:
    difficulties = [str(name) for name in trial.table["difficulty"].unique()]
    level = 1 - 0.05 / len(difficulties)
    ends = []
    for name in difficulties:
        found = difference(trial.only(name), baseline.only(name), criterion)
        high = float(interval(found, level=level)[1])
        # A single family has no standard error: a difference of rates is at most 1.
        ends.append(1.0 if math.isnan(high) else high)
    return ends
