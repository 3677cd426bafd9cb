"""The comparisons that the sweep file declared: cells that differ in one key only.

The verdict is about the final rates. Where the two cells have different baselines (thinking
against not, model against model), the difference of their gains stands beside it, with an
interval and without p: a recipe that ends higher may only have started higher.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from analysis.cells import CellRuns, adjust, stack
from analysis.differences import MIN_SEEDS, Difference
from analysis.pairs import (
    comparison_problem,
    differing_factors,
    level_texts,
    seed_gains,
    seeded_difference,
)
from analysis.records import Plan
from analysis.verdicts import (
    Effect,
    Verdict,
    effect,
    no_verdict,
    recipe_verdict,
    undecided_verdict,
)

__all__ = ["ContrastVerdict", "contrast_verdicts"]


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


class _Pair(NamedTuple):
    factor: str
    ours: CellRuns
    theirs: CellRuns

    @property
    def num_seeds(self) -> tuple[int, int]:
        return len(self.ours.trials), len(self.theirs.trials)

    @property
    def can_decide(self) -> bool:
        return min(self.num_seeds) >= MIN_SEEDS


def contrast_verdicts(plan: Plan, cells: Mapping[str, CellRuns]) -> tuple[ContrastVerdict, ...]:
    """Judge every pair of cells of the declared contrasts; all pairs are one Holm family."""
    pairs = _planned_pairs(plan, cells)
    problems = {index: _problem(pair) for index, pair in enumerate(pairs)}
    differences = {
        index: _rate_difference(pair, plan.primary_rung)
        for index, pair in enumerate(pairs)
        if problems[index] is None
    }
    decided = {index: found for index, found in differences.items() if pairs[index].can_decide}
    adjusted = adjust(decided, num_planned=len(pairs))
    verdicts = []
    for index, pair in enumerate(pairs):
        problem = problems[index]
        if problem is not None:
            verdict = no_verdict(problem)
        elif index not in decided:
            verdict = undecided_verdict(differences[index], num_seeds=pair.num_seeds)
        else:
            verdict = recipe_verdict(
                differences[index],
                sides=(pair.ours.name, pair.theirs.name),
                num_seeds=pair.num_seeds,
                adjusted_p=adjusted[index],
                num_planned=len(pairs),
            )
        gains = None if problem is not None else _gain_difference(pair, plan.primary_rung)
        verdicts.append(_contrast_verdict(pair, verdict, gains))
    return tuple(verdicts)


def _planned_pairs(plan: Plan, cells: Mapping[str, CellRuns]) -> list[_Pair]:
    """List the pairs of cells that differ in one declared key, the later cell first."""
    return [
        _Pair(factor, ours=second, theirs=first)
        for factor in plan.contrasts
        for first, second in combinations(cells.values(), 2)
        if differing_factors(first.planned[0], second.planned[0]) == [factor]
    ]


def _problem(pair: _Pair) -> str | None:
    """Say why two cells cannot be compared; None if they can."""
    for runs in (pair.ours, pair.theirs):
        if not runs.trials:
            return f"no run of {runs.name} finished."
    return comparison_problem([*pair.ours.trials, *pair.theirs.trials])


def _rate_difference(pair: _Pair, rung: str) -> Difference:
    ours, theirs = stack(pair.ours.trials, rung), stack(pair.theirs.trials, rung)
    return seeded_difference(ours, theirs, pair.ours.trials[0].families)


def _gain_difference(pair: _Pair, rung: str) -> Difference | None:
    """Return the difference of gains; None where a cell lacks its baseline."""
    ours, theirs = (
        seed_gains(runs.trials, [gain.baseline for gain in runs.gains], rung)
        for runs in (pair.ours, pair.theirs)
    )
    if ours is None or theirs is None:
        return None
    return seeded_difference(ours, theirs, pair.ours.trials[0].families)


def _contrast_verdict(pair: _Pair, verdict: Verdict, gains: Difference | None) -> ContrastVerdict:
    baselines = {
        gain.baseline.record.folder for gain in (*pair.ours.gains[:1], *pair.theirs.gains[:1])
    }
    level, against_level = level_texts(pair.ours.planned[0], pair.theirs.planned[0], pair.factor)
    return ContrastVerdict(
        factor=pair.factor,
        level=level,
        against_level=against_level,
        cell=pair.ours.name,
        against_cell=pair.theirs.name,
        num_seeds=pair.num_seeds,
        verdict=verdict,
        gain_effect=None if gains is None else effect(gains, widest=2.0),
        is_same_baseline=gains is not None and len(baselines) == 1,
    )
