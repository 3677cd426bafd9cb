"""The verdicts of a sweep: every planned trial, every cell over its seeds, every contrast.

A cell's verdict is what training it again would give. Contrasts are the comparisons that the sweep
file declared: cells that differ in one key only, judged by their final rates. Where two cells have
different baselines (thinking against not, model against model), the difference of their gains
stands beside the verdict, with an interval and without p: a recipe that ends higher may only have
started higher.

Holm families are fixed by the plan: all trials, all cells, all pairs of cells of the contrasts. A
trial that failed keeps its place with p = 1.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from analysis.aa import FalseCalls, false_calls
from analysis.differences import MIN_SEEDS, Difference, holm
from analysis.measured import (
    Group,
    Measured,
    compare,
    compare_gains,
    comparison_problem,
    differing_factors,
    group,
    level_texts,
)
from analysis.records import RunState, SweepRecords
from analysis.trials import Comparison, Gain, TrialVerdict, compare_trial, trial_verdict
from analysis.verdicts import Effect, Verdict, effect, no_verdict, recipe_verdict, undecided_verdict
from strictune.records import Plan, PlannedTrial

__all__ = [
    "CellVerdict",
    "ContrastVerdict",
    "SweepVerdicts",
    "compared_trials",
    "judge",
    "sweep_verdicts",
]

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """One cell over its seeds against its baseline."""

    cell: str
    num_planned: int
    """Planned seeds."""
    seed_rates: dict[int, float]
    """Pass@1 on the primary criterion of each seed that has a baseline beside it."""
    seed_sd_pp: float | None
    """Spread between the seeds' rates; None below two seeds."""
    aa: FalseCalls | None
    """The cell against itself with other seeds; None below two seeds."""
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastVerdict:
    """Two cells that differ in one key; all numbers are the first minus the second."""

    factor: str
    level: str
    against_level: str
    cell: str
    against_cell: str
    num_seeds: tuple[int, int]
    """Finished seeds of each."""
    verdict: Verdict
    """On the final rates."""
    gain_effect: Effect | None
    """Difference of the gains over the baselines, of the seeds of the verdict; None where one of
    them has no baseline, or another than the rest of its cell."""
    is_same_baseline: bool
    """Then the difference of gains is the difference of rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepVerdicts:
    """The verdicts of a sweep."""

    sweep: str
    task: str
    primary_criterion: str
    criteria: tuple[str, ...]
    states: dict[RunState, int]
    """Planned trials by state, every state included."""
    trials: tuple[TrialVerdict, ...]
    """Every planned trial, in the order of the plan."""
    cells: tuple[CellVerdict, ...]
    contrasts: tuple[ContrastVerdict, ...]


class _CellRuns(NamedTuple):
    """The runs of one planned cell."""

    planned: tuple[PlannedTrial, ...]
    """Its trials, one a seed."""
    trials: tuple[Measured, ...]
    """The finished ones."""
    gains: dict[int, Gain]
    """By seed, those with the baseline that all of them share."""

    @property
    def name(self) -> str:
        return self.planned[0].cell

    def group(self, criterion: str) -> Group:
        """Return all finished trials as one side of a comparison."""
        baselines = [gain.baseline for gain in self.gains.values()]
        return group(self.trials, criterion, baselines=baselines)

    def trained(self, criterion: str) -> Group:
        """Return the trials that have a baseline."""
        return group([gain.trial for gain in self.gains.values()], criterion)


class _Judged(NamedTuple):
    """A planned comparison of recipes that can be made."""

    difference: Difference
    sides: tuple[str, str]
    num_seeds: tuple[int, int | None]

    @property
    def can_decide(self) -> bool:
        return min(seeds for seeds in self.num_seeds if seeds is not None) >= MIN_SEEDS


def sweep_verdicts(sweep_dir: Path) -> SweepVerdicts:
    """Read the folders of a sweep, finished or not, and judge what there is.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood. What is wrong with a single
            trial or baseline is that trial's reason.
    """
    sweep = SweepRecords(sweep_dir)
    return judge(sweep.plan, compared_trials(sweep))


def compared_trials(sweep: SweepRecords) -> tuple[Comparison, ...]:
    """Compare every planned trial with its baseline, in the order of the plan."""
    return tuple(compare_trial(sweep, planned) for planned in sweep.plan.trials)


def judge(plan: Plan, compared: Sequence[Comparison]) -> SweepVerdicts:
    """Judge the result of ``compared_trials``."""
    ties = {cell.name: cell.ties for cell in plan.cells}
    adjusted = _adjust(
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
    cells = _cell_runs(plan, compared)
    counted = Counter(trial.state for trial in trials)
    return SweepVerdicts(
        sweep=plan.sweep,
        task=plan.task,
        primary_criterion=plan.primary_criterion,
        criteria=plan.criteria,
        states={state: counted[state] for state in RunState},
        trials=trials,
        cells=_cell_verdicts(cells, plan.primary_criterion),
        contrasts=_contrast_verdicts(plan, cells),
    )


def _cell_runs(plan: Plan, compared: Sequence[Comparison]) -> list[_CellRuns]:
    """Gather the runs of each planned cell, in the order of the plan.

    A cell whose seeds name several baselines (say, because the scorer changed between them) has no
    gains: nothing can be averaged over them.
    """
    cells = []
    for name in dict.fromkeys(trial.cell for trial in plan.trials):
        runs = [run for run in compared if run.plan.cell == name]
        gains = {run.plan.seed: run.gain for run in runs if run.gain is not None}
        if len({gain.baseline.record.folder for gain in gains.values()}) > 1:
            gains = {}
        trials = tuple(run.trial for run in runs if run.trial is not None)
        cells.append(_CellRuns(tuple(run.plan for run in runs), trials, gains))
    return cells


def _cell_verdicts(cells: Sequence[_CellRuns], criterion: str) -> tuple[CellVerdict, ...]:
    verdicts = _verdicts([_against_baseline(runs, criterion) for runs in cells])
    found = []
    for runs, verdict in zip(cells, verdicts, strict=True):
        rates, aa = {}, None
        if runs.gains:
            trained = runs.trained(criterion)
            means = map(float, trained.rates.mean(axis=1))
            rates = dict(zip(runs.gains, means, strict=True))
            aa = false_calls(trained.rates, trained.families)
        found.append(
            CellVerdict(
                cell=runs.name,
                num_planned=len(runs.planned),
                seed_rates=rates,
                seed_sd_pp=(
                    100 * float(np.std(list(rates.values()), ddof=1)) if len(rates) > 1 else None
                ),
                aa=aa,
                verdict=verdict,
            )
        )
    return tuple(found)


def _contrast_verdicts(plan: Plan, cells: Sequence[_CellRuns]) -> tuple[ContrastVerdict, ...]:
    """Judge every pair of cells of the declared contrasts; the later cell stands first."""
    criterion = plan.primary_criterion
    pairs = [
        (factor, ours, theirs)
        for factor in plan.contrasts
        for theirs, ours in combinations(cells, 2)
        if differing_factors(theirs.planned[0], ours.planned[0]) == [factor]
    ]
    verdicts = _verdicts(
        [_against_each_other(ours, theirs, criterion) for _, ours, theirs in pairs]
    )
    return tuple(
        _contrast_verdict(*pair, verdict, criterion)
        for pair, verdict in zip(pairs, verdicts, strict=True)
    )


def _adjust(differences: Mapping[_K, Difference], *, num_planned: int) -> dict[_K, float]:
    """Adjust the p of each difference by Holm's method over the planned family."""
    adjusted = holm([float(found.p) for found in differences.values()], num_planned=num_planned)
    return dict(zip(differences, adjusted.tolist(), strict=True))


def _verdicts(planned: Sequence[_Judged | str]) -> list[Verdict]:
    """Judge comparisons that are one Holm family; a text says why one cannot be made."""
    decided = {
        place: one.difference
        for place, one in enumerate(planned)
        if isinstance(one, _Judged) and one.can_decide
    }
    adjusted = _adjust(decided, num_planned=len(planned))
    verdicts = []
    for place, one in enumerate(planned):
        if isinstance(one, str):
            verdicts.append(no_verdict(one))
        elif place not in adjusted:
            verdicts.append(undecided_verdict(one.difference, num_seeds=one.num_seeds))
        else:
            verdicts.append(
                recipe_verdict(
                    one.difference,
                    sides=one.sides,
                    num_seeds=one.num_seeds,
                    adjusted_p=adjusted[place],
                    num_planned=len(planned),
                )
            )
    return verdicts


def _against_baseline(runs: _CellRuns, criterion: str) -> _Judged | str:
    if not runs.gains:
        return "no run of this cell finished with one baseline for all seeds."
    first = next(iter(runs.gains.values()))
    baseline = group([first.baseline], criterion, is_trained=False)
    found = compare(runs.trained(criterion), baseline)
    return _Judged(found, (runs.name, "its baseline"), (len(runs.gains), None))


def _against_each_other(ours: _CellRuns, theirs: _CellRuns, criterion: str) -> _Judged | str:
    for runs in (ours, theirs):
        if not runs.trials:
            return f"no run of {runs.name} finished."
    problem = comparison_problem([*ours.trials, *theirs.trials])
    if problem is not None:
        return problem
    num_seeds = len(ours.trials), len(theirs.trials)
    found = compare(ours.group(criterion), theirs.group(criterion))
    return _Judged(found, (ours.name, theirs.name), num_seeds)


def _contrast_verdict(
    factor: str, ours: _CellRuns, theirs: _CellRuns, verdict: Verdict, criterion: str
) -> ContrastVerdict:
    gains = None
    if verdict.effect is not None:
        gains = compare_gains(ours.group(criterion), theirs.group(criterion))
    folders = {
        gain.baseline.record.folder for runs in (ours, theirs) for gain in runs.gains.values()
    }
    level, against_level = level_texts(ours.planned[0], theirs.planned[0], factor)
    return ContrastVerdict(
        factor=factor,
        level=level,
        against_level=against_level,
        cell=ours.name,
        against_cell=theirs.name,
        num_seeds=(len(ours.trials), len(theirs.trials)),
        verdict=verdict,
        gain_effect=None if gains is None else effect(gains, widest=2.0),
        is_same_baseline=gains is not None and len(folders) == 1,
    )
