"""What training a cell again would give: its seeds against its baseline."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from analysis.differences import (
    MIN_SEEDS,
    Difference,
    holm,
    paired_difference,
    recipe_difference,
)
from analysis.families import Floats
from analysis.measured import Measured
from analysis.records import Plan, PlannedTrial
from analysis.trials import Comparison, Gain
from analysis.verdicts import Verdict, no_verdict, recipe_verdict, undecided_verdict

__all__ = ["CellRuns", "CellVerdict", "adjust", "cell_runs", "cell_verdicts", "stack"]

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """One cell over its seeds against its baseline."""

    cell: str
    num_planned: int
    """Planned seeds."""
    seed_rates: dict[int, float]
    """Pass@1 on the primary rung of each seed that has a baseline beside it."""
    seed_sd_pp: float | None
    """Spread between the seeds' rates; None below two seeds."""
    verdict: Verdict


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
    differences = {
        name: _recipe_gain(runs, plan.primary_rung)
        for name, runs in cells.items()
        if len(runs.gains) >= MIN_SEEDS
    }
    adjusted = adjust(differences, num_planned=len(cells))
    found = []
    for name, runs in cells.items():
        if not runs.gains:
            verdict = no_verdict("no run of this cell finished with one baseline for all seeds.")
        elif name not in differences:
            verdict = _undecided(runs, plan.primary_rung)
        else:
            verdict = recipe_verdict(
                differences[name],
                sides=(name, "its baseline"),
                num_seeds=(len(runs.gains), None),
                adjusted_p=adjusted[name],
                num_planned=len(cells),
            )
        found.append(_cell_verdict(runs, plan.primary_rung, verdict))
    return tuple(found)


def adjust(differences: Mapping[_K, Difference], *, num_planned: int) -> dict[_K, float]:
    """Adjust the p of each difference by Holm's method over the planned family."""
    adjusted = holm([float(found.p) for found in differences.values()], num_planned=num_planned)
    return dict(zip(differences, adjusted.tolist(), strict=True))


def stack(runs: Sequence[Measured], rung: str) -> Floats:
    """Put the per-prompt means of runs on the same prompts above each other: (S, P)."""
    return np.stack([run.rung(rung) for run in runs])


def _recipe_gain(runs: CellRuns, rung: str) -> Difference:
    baseline = runs.gains[0].baseline
    trained = stack([gain.trial for gain in runs.gains], rung)
    return recipe_difference(
        trained, baseline.rung(rung), baseline.families, is_theirs_baseline=True
    )


def _undecided(runs: CellRuns, rung: str) -> Verdict:
    baseline = runs.gains[0].baseline
    trained = stack([gain.trial for gain in runs.gains], rung)
    shown = paired_difference(trained.mean(axis=0), baseline.rung(rung), baseline.families)
    return undecided_verdict(shown, num_seeds=(len(runs.gains), None))


def _cell_verdict(runs: CellRuns, rung: str, verdict: Verdict) -> CellVerdict:
    rates = {
        seed: float(gain.trial.rung(rung).mean())
        for seed, gain in zip(runs.seeds, runs.gains, strict=True)
    }
    spread = 100 * float(np.std(list(rates.values()), ddof=1)) if len(rates) > 1 else None
    return CellVerdict(
        cell=runs.name,
        num_planned=len(runs.planned),
        seed_rates=rates,
        seed_sd_pp=spread,
        verdict=verdict,
    )
