"""The verdicts of a sweep: what every planned trial, cell and contrast shows.

Holm families are fixed by the plan: (1) every planned trial against its baseline, and, where
cells have three seeds or more, every planned cell; (2) every pair of cells of the declared
contrasts. A trial that failed keeps its place in the family with p = 1.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from analysis.cells import CellVerdict, adjust, cell_runs, cell_verdicts
from analysis.contrasts import ContrastVerdict, contrast_verdicts
from analysis.measured import Measured, measure
from analysis.records import TRIALS, RunState, read_plan, read_run
from analysis.trials import TrialVerdict, compare_trial, trial_verdict

__all__ = ["SweepVerdicts", "sweep_verdicts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepVerdicts:
    """Everything that the table and the report of a sweep say."""

    sweep: str
    task: str
    primary_rung: str
    rungs: tuple[str, ...]
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
    plan = read_plan(sweep_dir)
    ties = {cell.name: cell.ties for cell in plan.cells}

    @cache
    def baseline_in(folder: Path) -> Measured:
        return measure(read_run(folder))

    compared = {
        planned.trial_id: compare_trial(
            sweep_dir / TRIALS / planned.trial_id,
            planned,
            plan,
            baseline_in=baseline_in,
        )
        for planned in plan.trials
    }
    adjusted = adjust(
        {key: run.gain.difference for key, run in compared.items() if run.gain is not None},
        num_planned=len(plan.trials),
    )
    trials = tuple(
        trial_verdict(
            run, plan, adjusted_p=adjusted.get(key, math.nan), ties=ties.get(run.plan.cell, ())
        )
        for key, run in compared.items()
    )
    cells = cell_runs(plan, list(compared.values()))
    counted = Counter(trial.state for trial in trials)
    return SweepVerdicts(
        sweep=plan.sweep,
        task=plan.task,
        primary_rung=plan.primary_rung,
        rungs=plan.rungs,
        states={state: counted[state] for state in RunState},
        trials=trials,
        cells=cell_verdicts(plan, cells),
        contrasts=contrast_verdicts(plan, cells),
    )
