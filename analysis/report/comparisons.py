"""Every comparison that the cells of a sweep allow, for each pair and over all pairs.

Cells that differ in one key only, over all prompts and by difficulty: model against model,
thinking against not, curriculum against curriculum, GRPO against supervised training, variant
(such as other weights) against the first variant, or against the cell's own settings. Only the
contrasts that the sweep file declared carry verdicts, and those are given elsewhere; here are
intervals, without p. With three seeds on each side an interval speaks of the recipe, else of
these runs; over all pairs it always speaks of these runs, and is there only if all pairs were
measured alike.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from analysis.measured import (
    ALL_DIFFICULTIES,
    FACTORS,
    Group,
    Measured,
    average,
    compare,
    compare_gains,
    comparison_problem,
    differing_factors,
    group,
    level_text,
    level_texts,
    parts,
)
from analysis.tables import Column, Row, Table, bounds, effect_in
from analysis.trials import Comparison
from analysis.verdicts import effect, effect_text
from strictune.config.naming import GRPO
from strictune.records import PlannedTrial

__all__ = ["COMPARISONS", "OVER_ALL", "comparison_rows"]

OVER_ALL = "over all pairs"


def _first_side(row: Row) -> dict[str, str]:
    return {"trial": row["ours_trial_id"]}


COMPARISONS = Table(
    "comparisons",
    "Cells against each other",
    (
        Column(
            "comparison", lambda row: f"{row['level']} against {row['against']}", str, _first_side
        ),
        Column("in", "within", str, _first_side),
        Column(
            "prompts", lambda row: f"{row['num_prompts']} {row['difficulty']}", str, _first_side
        ),
        Column("difference", effect_in, effect_text, _first_side),
        Column("of gains", lambda row: effect_in(row, "gain_"), effect_text, _first_side),
        Column(
            "kind",
            lambda row: "planned" if row["is_planned"] else "exploratory",
            str,
            _first_side,
        ),
    ),
)
"""Cells lead to the completions of the first side."""


class _Run(NamedTuple):
    """A finished trial, and its baseline where it may be compared with one."""

    plan: PlannedTrial
    trial: Measured
    baseline: Measured | None


class _Pair(NamedTuple):
    """Two cells on the same prompts."""

    within: str
    trial_ids: tuple[str, str]
    measured: Measured
    """One of the runs: its table says what the prompts of all of them are."""
    ours: Group
    theirs: Group


def comparison_rows(
    compared: Sequence[Comparison], criterion: str, *, contrasts: Sequence[str] = ()
) -> list[Row]:
    """Compare the cells of a sweep in pairs.

    Args:
        compared: Its trials, in the order of the plan; those without a result are left out.
        criterion: The primary one.
        contrasts: The keys that the sweep file declared: their comparisons were planned.

    Returns:
        For each key, pair of levels, pair of cells and difficulty: delta_pp of the final rates
        and gain_delta_pp of the gains over the baselines (absent where one is missing), both
        with bounds.
    """
    cells: dict[str, list[_Run]] = defaultdict(list)
    for one in compared:
        if one.trial is not None:
            baseline = one.gain.baseline if one.gain is not None else None
            cells[one.plan.cell].append(_Run(one.plan, one.trial, baseline))
    grouped: dict[tuple[str, str, str], list[_Pair]] = defaultdict(list)
    reference = next((runs[0].plan.variant for runs in cells.values()), None)
    for first, second in combinations(cells.values(), 2):
        factor = _factor(first[0].plan, second[0].plan, reference=reference)
        trials = [run.trial for run in (*first, *second)]
        if factor is not None and comparison_problem(trials) is None:
            levels = level_texts(second[0].plan, first[0].plan, factor)
            grouped[factor, *levels].append(_pair(second, first, factor, criterion))
    rows: list[Row] = []
    for (factor, level, against), pairs in grouped.items():
        for row in _pair_rows(pairs):
            is_whole = row["difficulty"] == ALL_DIFFICULTIES and row["within"] != OVER_ALL
            is_planned = factor in contrasts and is_whole
            facts = {"factor": factor, "level": level, "against": against}
            rows.append({**facts, "is_planned": is_planned, **row})
    return rows


def _factor(first: PlannedTrial, second: PlannedTrial, *, reference: str | None) -> str | None:
    """Return the one key in which two cells differ; variants stand against the first one."""
    differing = differing_factors(first, second)
    if len(differing) != 1 or (differing == ["variant"] and first.variant != reference):
        return None
    return differing[0]


def _pair(ours: Sequence[_Run], theirs: Sequence[_Run], factor: str, criterion: str) -> _Pair:
    return _Pair(
        within=_within(ours[0].plan, factor),
        trial_ids=(ours[0].plan.trial_id, theirs[0].plan.trial_id),
        measured=ours[0].trial,
        ours=_group(ours, criterion),
        theirs=_group(theirs, criterion),
    )


def _group(runs: Sequence[_Run], criterion: str) -> Group:
    baselines = [run.baseline for run in runs if run.baseline is not None]
    return group([run.trial for run in runs], criterion, baselines=baselines)


def _within(plan: PlannedTrial, factor: str) -> str:
    """Return what a pair has in common; method and variant only where they are to be named."""
    common = [level_text(plan, key) for key in FACTORS[:3] if key != factor]
    if factor != "method" and plan.method != GRPO:
        common.append(plan.method)
    if factor != "variant" and plan.variant is not None:
        common.append(plan.variant)
    return ", ".join(common)


def _pair_rows(pairs: Sequence[_Pair]) -> Iterator[Row]:
    if len(pairs) > 1 and comparison_problem([pair.measured for pair in pairs]) is None:
        ours, theirs = (
            average(sides)
            for sides in zip(*((pair.ours, pair.theirs) for pair in pairs), strict=True)
        )
        yield from _part_rows(pairs[0]._replace(within=OVER_ALL, ours=ours, theirs=theirs))
    for pair in pairs:
        yield from _part_rows(pair)


def _part_rows(pair: _Pair) -> Iterator[Row]:
    for difficulty, part in parts(pair.measured):
        row: Row = {
            "within": pair.within,
            "ours_trial_id": pair.trial_ids[0],
            "theirs_trial_id": pair.trial_ids[1],
            "num_seeds": [len(pair.ours.rates), len(pair.theirs.rates)],
            "difficulty": difficulty,
            "num_prompts": int(part.sum()),
            **bounds(effect(compare(pair.ours, pair.theirs, part=part))),
        }
        gains = compare_gains(pair.ours, pair.theirs, part=part)
        if gains is not None:
            row |= bounds(effect(gains, widest=2.0), "gain_")
        yield row
