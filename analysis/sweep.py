"""The verdicts of a sweep: what every planned trial, cell and contrast shows.

Holm families are fixed by the plan: (1) every planned trial against its baseline, and, where
cells have three seeds or more, every planned cell; (2) every pair of cells of the declared
contrasts. A trial that failed keeps its place in the family with p = 1.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.recipes import (
    CellVerdict,
    ContrastVerdict,
    adjust,
    cell_runs,
    cell_verdicts,
    contrast_verdicts,
)
from analysis.records import RunState, SweepRecords
from analysis.trials import Comparison, TrialVerdict, compare_trial, trial_verdict
from strictune.records import Plan

__all__ = ["SweepVerdicts", "compared_trials", "judge", "sweep_verdicts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepVerdicts:
    """Everything that the table and the report of a sweep say."""

    sweep: str
    task: str
    primary_criterion: str
    criteria: tuple[str, ...]
    states: dict[RunState, int]
    """Planned trials by how they stand; all states, so that a 0 is said too."""
    trials: tuple[TrialVerdict, ...]
    """Every planned trial, in the order of the plan."""
    cells: tuple[CellVerdict, ...]
    contrasts: tuple[ContrastVerdict, ...]


def sweep_verdicts(sweep_dir: Path) -> SweepVerdicts:
    """Read the folders of a sweep, finished or not, and judge what there is.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood. Whatever is wrong with
            a single trial or baseline is that trial's reason, not an error.
    """
    sweep = SweepRecords(sweep_dir)
    return judge(sweep.plan, compared_trials(sweep))


def compared_trials(sweep: SweepRecords) -> tuple[Comparison, ...]:
    """Put every planned trial beside its baseline, in the order of the plan."""
    return tuple(compare_trial(sweep, planned) for planned in sweep.plan.trials)


def judge(plan: Plan, compared: Sequence[Comparison]) -> SweepVerdicts:
    """Judge what ``compared_trials`` of a plan has found."""
    ties = {cell.name: cell.ties for cell in plan.cells}
    adjusted = adjust(
        {run.plan.trial_id: run.gain.difference for run in compared if run.gain is not None},
        num_planned=len(plan.trials),
    )
    trials = tuple(
        trial_verdict(
            run,
            plan,
            adjusted_p=adjusted.get(run.plan.trial_id, math.nan),
            ties=ties.get(run.plan.cell, ()),
        )
        for run in compared
    )
    cells = cell_runs(plan, compared)
    counted = Counter(trial.state for trial in trials)
    return SweepVerdicts(
        sweep=plan.sweep,
        task=plan.task,
        primary_criterion=plan.primary_criterion,
        criteria=plan.criteria,
        states={state: counted[state] for state in RunState},
        trials=trials,
        cells=cell_verdicts(plan, cells),
        contrasts=contrast_verdicts(plan, cells),
    )
