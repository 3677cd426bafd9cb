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

import numpy as np
from numpy.typing import NDArray

from analysis.cells import stack
from analysis.families import Floats
from analysis.measured import Measured, MeasuredTrial
from analysis.pairs import (
    FACTORS,
    comparison_problem,
    differing_factors,
    level_text,
    level_texts,
    seed_gains,
    seeded_difference,
)
from analysis.records import PlannedTrial
from analysis.report.trial_rows import ALL_DIFFICULTIES
from analysis.tables import Column, Row, Table, bounds, effect_in
from analysis.verdicts import effect, effect_text
from strictune.config.naming import GRPO

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


class _Pair(NamedTuple):
    """Two cells on the same prompts: (S, P) rates and gains of each."""

    within: str
    trial_ids: tuple[str, str]
    measured: Measured
    """One of the runs: its table says what the prompts of all of them are."""
    ours: Floats
    theirs: Floats
    our_gains: Floats | None
    their_gains: Floats | None


def comparison_rows(
    runs: Sequence[MeasuredTrial], rung: str, *, contrasts: Sequence[str] = ()
) -> list[Row]:
    """Compare the cells of a sweep in pairs.

    Args:
        runs: Finished trials, in the order of the plan.
        rung: The primary one.
        contrasts: The keys that the sweep file declared: their comparisons were planned.

    Returns:
        For each key, pair of levels, pair of cells and difficulty: delta_pp of the final rates
        and gain_delta_pp of the gains over the baselines (absent where one is missing), both
        with bounds.
    """
    cells: dict[str, list[MeasuredTrial]] = defaultdict(list)
    for run in runs:
        cells[run.plan.cell].append(run)
    grouped: dict[tuple[str, str, str], list[_Pair]] = defaultdict(list)
    reference = runs[0].plan.variant if runs else None
    for first, second in combinations(cells.values(), 2):
        factor = _factor(first[0].plan, second[0].plan, reference=reference)
        trials = [run.trial for run in (*first, *second)]
        if factor is not None and comparison_problem(trials) is None:
            levels = level_texts(second[0].plan, first[0].plan, factor)
            grouped[factor, *levels].append(_pair(second, first, factor, rung))
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


def _pair(
    ours: Sequence[MeasuredTrial], theirs: Sequence[MeasuredTrial], factor: str, rung: str
) -> _Pair:
    return _Pair(
        within=_within(ours[0].plan, factor),
        trial_ids=(ours[0].plan.trial_id, theirs[0].plan.trial_id),
        measured=ours[0].trial,
        ours=stack([run.trial for run in ours], rung),
        theirs=stack([run.trial for run in theirs], rung),
        our_gains=_gains(ours, rung),
        their_gains=_gains(theirs, rung),
    )


def _within(plan: PlannedTrial, factor: str) -> str:
    """Return what a pair has in common; method and variant only where they are to be named."""
    common = [level_text(plan, key) for key in FACTORS[:3] if key != factor]
    if factor != "method" and plan.method != GRPO:
        common.append(plan.method)
    if factor != "variant" and plan.variant is not None:
        common.append(plan.variant)
    return ", ".join(common)


def _gains(runs: Sequence[MeasuredTrial], rung: str) -> Floats | None:
    baselines = [run.baseline for run in runs if run.baseline is not None]
    return seed_gains([run.trial for run in runs], baselines, rung)


def _pair_rows(pairs: Sequence[_Pair]) -> Iterator[Row]:
    if len(pairs) > 1 and comparison_problem([pair.measured for pair in pairs]) is None:
        yield from _part_rows(_over_all(pairs))
    for pair in pairs:
        yield from _part_rows(pair)


def _over_all(pairs: Sequence[_Pair]) -> _Pair:
    """Average over pairs, prompt by prompt; each pair counts the same."""
    has_gains = all(pair.our_gains is not None and pair.their_gains is not None for pair in pairs)
    return _Pair(
        within=OVER_ALL,
        trial_ids=pairs[0].trial_ids,
        measured=pairs[0].measured,
        ours=_mean([pair.ours for pair in pairs]),
        theirs=_mean([pair.theirs for pair in pairs]),
        our_gains=_mean([pair.our_gains for pair in pairs]) if has_gains else None,
        their_gains=_mean([pair.their_gains for pair in pairs]) if has_gains else None,
    )


def _mean(sides: Sequence[Floats | None]) -> Floats:
    """Average (S, P) sides, whose numbers of seeds may differ, to one (1, P)."""
    means = np.stack([side.mean(axis=0) for side in sides if side is not None])
    return np.asarray(means.mean(axis=0, keepdims=True), dtype=np.float64)


def _part_rows(pair: _Pair) -> Iterator[Row]:
    families = np.asarray(pair.measured.families)
    for difficulty, part in _parts(pair.measured):
        found = seeded_difference(pair.ours[:, part], pair.theirs[:, part], families[part].tolist())
        row: Row = {
            "within": pair.within,
            "ours_trial_id": pair.trial_ids[0],
            "theirs_trial_id": pair.trial_ids[1],
            "num_seeds": [len(pair.ours), len(pair.theirs)],
            "difficulty": difficulty,
            "num_prompts": int(part.sum()),
            **bounds(effect(found)),
        }
        if pair.our_gains is not None and pair.their_gains is not None:
            ours, theirs = pair.our_gains[:, part], pair.their_gains[:, part]
            gains = seeded_difference(ours, theirs, families[part].tolist())
            row |= bounds(effect(gains, widest=2.0), "gain_")
        yield row


def _parts(measured: Measured) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    difficulties = np.asarray(measured.table["difficulty"].astype(str))
    yield ALL_DIFFICULTIES, np.ones(len(difficulties), dtype=bool)
    for name in dict.fromkeys(difficulties.tolist()):
        yield name, difficulties == name
