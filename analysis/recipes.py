"""What recipes show over their seeds: cells against their baselines, and against each other.

A cell's verdict is what training it again would give. The contrasts are what the sweep file
declared: cells that differ in one key only, judged by their final rates. Where two cells have
different baselines (thinking against not, model against model), the difference of their gains
stands beside the verdict, with an interval and without p: a recipe that ends higher may only have
started higher.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np

from analysis.aa import FalseCalls, false_calls
from analysis.differences import MIN_SEEDS, Difference, holm
from analysis.groups import (
    Group,
    compare,
    compare_gains,
    comparison_problem,
    differing_factors,
    group,
    level_texts,
)
from analysis.measured import Measured
from analysis.trials import Comparison, Gain
from analysis.verdicts import (
    Effect,
    Verdict,
    effect,
    no_verdict,
    recipe_verdict,
    undecided_verdict,
)
from strictune.records import Plan, PlannedTrial

__all__ = [
    "CellRuns",
    "CellVerdict",
    "ContrastVerdict",
    "adjust",
    "cell_runs",
    "cell_verdicts",
    "contrast_verdicts",
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


class CellRuns(NamedTuple):
    """What there is of one planned cell."""

    planned: tuple[PlannedTrial, ...]
    """Its trials, one a seed; they agree on everything else."""
    trials: tuple[Measured, ...]
    """The finished ones."""
    gains: tuple[Gain, ...]
    """Those with their baseline, which all of them share."""
    seeds: tuple[int, ...]
    """The seeds of ``gains``."""

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.planned[0].cell

    def group(self, criterion: str) -> Group:
        """Return all finished trials as one side of a comparison."""
        return group(self.trials, criterion, baselines=[gain.baseline for gain in self.gains])


class _Judged(NamedTuple):
    """A planned comparison of recipes that can be made."""

    difference: Difference
    sides: tuple[str, str]
    num_seeds: tuple[int, int | None]

    @property
    def can_decide(self) -> bool:
        return min(seeds for seeds in self.num_seeds if seeds is not None) >= MIN_SEEDS


def cell_runs(plan: Plan, compared: Sequence[Comparison]) -> dict[str, CellRuns]:
    """Gather the runs of each planned cell, in the order of the plan.

    Seeds of one cell have one baseline. Should they name several (the scorer changed between
    them, say), the cell is left without gains: nothing can be averaged over them.
    """
    cells = {}
    for name in dict.fromkeys(trial.cell for trial in plan.trials):
        runs = [run for run in compared if run.plan.cell == name]
        found = [(run.gain, run.plan.seed) for run in runs if run.gain is not None]
        if len({gain.baseline.record.folder for gain, _ in found}) > 1:
            found = []
        cells[name] = CellRuns(
            planned=tuple(run.plan for run in runs),
            trials=tuple(run.trial for run in runs if run.trial is not None),
            gains=tuple(gain for gain, _ in found),
            seeds=tuple(seed for _, seed in found),
        )
    return cells


def cell_verdicts(plan: Plan, cells: Mapping[str, CellRuns]) -> tuple[CellVerdict, ...]:
    """Judge every planned cell against its baseline; all of them are one Holm family."""
    criterion = plan.primary_criterion
    verdicts = _verdicts({name: _against_baseline(runs, criterion) for name, runs in cells.items()})
    found = []
    for name, runs in cells.items():
        rates = {
            seed: float(gain.trial.criterion(criterion).mean())
            for seed, gain in zip(runs.seeds, runs.gains, strict=True)
        }
        spread = 100 * float(np.std(list(rates.values()), ddof=1)) if len(rates) > 1 else None
        found.append(
            CellVerdict(
                cell=name,
                num_planned=len(runs.planned),
                seed_rates=rates,
                seed_sd_pp=spread,
                aa=_against_itself(runs, criterion),
                verdict=verdicts[name],
            )
        )
    return tuple(found)


def contrast_verdicts(plan: Plan, cells: Mapping[str, CellRuns]) -> tuple[ContrastVerdict, ...]:
    """Judge every pair of cells of the declared contrasts; all pairs are one Holm family.

    Pairs differ in one declared key; the later cell stands first.
    """
    pairs = [
        (factor, ours, theirs)
        for factor in plan.contrasts
        for theirs, ours in combinations(cells.values(), 2)
        if differing_factors(theirs.planned[0], ours.planned[0]) == [factor]
    ]
    judged = dict(
        enumerate(
            _against_each_other(ours, theirs, plan.primary_criterion) for _, ours, theirs in pairs
        )
    )
    verdicts = _verdicts(judged)
    return tuple(
        _contrast_verdict(factor, ours, theirs, verdicts[index], plan.primary_criterion)
        for index, (factor, ours, theirs) in enumerate(pairs)
    )


def adjust(differences: Mapping[_K, Difference], *, num_planned: int) -> dict[_K, float]:
    """Adjust the p of each difference by Holm's method over the planned family."""
    adjusted = holm([float(found.p) for found in differences.values()], num_planned=num_planned)
    return dict(zip(differences, adjusted.tolist(), strict=True))


def _verdicts(planned: Mapping[_K, _Judged | str]) -> dict[_K, Verdict]:
    """Judge comparisons that are one Holm family; a text says why one cannot be made."""
    judged = {key: one for key, one in planned.items() if isinstance(one, _Judged)}
    decided = {key: one.difference for key, one in judged.items() if one.can_decide}
    adjusted = adjust(decided, num_planned=len(planned))
    verdicts = {}
    for key, one in planned.items():
        if isinstance(one, str):
            verdicts[key] = no_verdict(one)
        elif key not in adjusted:
            verdicts[key] = undecided_verdict(one.difference, num_seeds=one.num_seeds)
        else:
            verdicts[key] = recipe_verdict(
                one.difference,
                sides=one.sides,
                num_seeds=one.num_seeds,
                adjusted_p=adjusted[key],
                num_planned=len(planned),
            )
    return verdicts


def _against_baseline(runs: CellRuns, criterion: str) -> _Judged | str:
    if not runs.gains:
        return "no run of this cell finished with one baseline for all seeds."
    trained = group([gain.trial for gain in runs.gains], criterion)
    baseline = group([runs.gains[0].baseline], criterion, is_trained=False)
    num_seeds = len(runs.gains), None
    return _Judged(compare(trained, baseline), (runs.name, "its baseline"), num_seeds)


def _against_itself(runs: CellRuns, criterion: str) -> FalseCalls | None:
    if not runs.gains:
        return None
    trained = group([gain.trial for gain in runs.gains], criterion)
    return false_calls(trained.rates, trained.families)


def _against_each_other(ours: CellRuns, theirs: CellRuns, criterion: str) -> _Judged | str:
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
    factor: str, ours: CellRuns, theirs: CellRuns, verdict: Verdict, criterion: str
) -> ContrastVerdict:
    gains = None
    if verdict.effect is not None:
        gains = compare_gains(ours.group(criterion), theirs.group(criterion))
    baselines = {gain.baseline.record.folder for gain in (*ours.gains[:1], *theirs.gains[:1])}
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
        is_same_baseline=gains is not None and len(baselines) == 1,
    )
