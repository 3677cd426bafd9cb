"""Cells against each other, in every pair that a sweep allows, and trials at equal tokens.

Cells that differ in one key only are compared, over all prompts and by difficulty; variants stand
against the first one, or against the cell's own settings. Only the contrasts that the sweep file
declared carry verdicts, and those are given elsewhere; here are intervals, without p. With three
seeds on each side an interval speaks of the recipe, else of these runs; over all pairs it always
speaks of these runs, and is there only if all pairs were measured alike.

Models of one sweep take as many steps, and may write completions of other lengths meanwhile, so
the one that ends higher may only have seen more; so may a trial that begins on gold completions.
Two trials that differ in the model alone, or in a curriculum of both methods, are compared at the
latest two ends of stages whose completion tokens differ by a tenth at most.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from pathlib import Path
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
    difference,
    differing_factors,
    group,
    level_text,
    level_texts,
    parts,
)
from analysis.records import TOKENS, RunRecord, SweepRecords, prompt_table, samples_without_texts
from analysis.report.training import Stage, planned_stages, stage_samples
from analysis.tables import NOT_MEASURED, Column, Row, Table, bounds, effect_in, number
from analysis.trials import Comparison
from analysis.verdicts import Effect, effect, effect_text
from strictune.config.naming import GRPO
from strictune.records import PlannedTrial

__all__ = ["COMPARISONS", "EQUAL_TOKENS", "OVER_ALL", "comparison_rows", "equal_token_rows"]

OVER_ALL = "over all pairs"
TOLERANCE = 0.1
"""How far the tokens of two trials may lie apart, as a share of the larger number."""

COMPARISONS = Table(
    "comparisons",
    "Cells against each other",
    (
        Column("comparison", lambda row: f"{row['level']} against {row['against']}"),
        Column("in", "within"),
        Column("prompts", lambda row: f"{row['num_prompts']} {row['difficulty']}"),
        Column("difference", effect_in, effect_text),
        Column("of gains", lambda row: effect_in(row, "gain_"), effect_text),
        Column("kind", lambda row: "planned" if row["is_planned"] else "exploratory"),
    ),
    lambda row: {"trial": row["ours_trial_id"]},
)

EQUAL_TOKENS = Table(
    "equal_tokens",
    "At equal tokens",
    (
        Column("compared", lambda row: f"{row['level']} against {row['against']}"),
        Column("in", "within"),
        Column("after stage", "stages", lambda names: " / ".join(dict.fromkeys(names))),
        Column("tokens trained on", "tokens", lambda tokens: " / ".join(map(number, tokens))),
        Column(
            "difference, validation",
            lambda row: row["problem"] or effect_in(row),
            lambda found: (
                f"{NOT_MEASURED} ({found})" if isinstance(found, str) else effect_text(found)
            ),
        ),
    ),
)


class _Pair(NamedTuple):
    """Two cells on the same prompts."""

    within: str
    trial_ids: tuple[str, str]
    measured: Measured
    """One of the runs, for the prompts that all of them share."""
    ours: Group
    theirs: Group


class _Waypoint(NamedTuple):
    """The end of one stage of a trial."""

    stage: str
    tokens: float
    """Completion tokens trained on since the beginning."""
    samples: Path


def comparison_rows(
    compared: Sequence[Comparison], criterion: str, *, contrasts: Sequence[str] = ()
) -> list[Row]:
    """Compare the cells of a sweep in pairs.

    Args:
        compared: Its trials, in the order of the plan.
        criterion: The primary one.
        contrasts: The keys whose comparisons were planned.

    Returns:
        For each key, pair of levels, pair of cells and difficulty: delta_pp of the final rates and
        gain_delta_pp of the gains over the baselines (absent where one is missing), with bounds.
    """
    cells: dict[str, list[Comparison]] = defaultdict(list)
    for one in compared:
        if one.trial is not None:
            cells[one.plan.cell].append(one)
    grouped: dict[tuple[str, str, str], list[_Pair]] = defaultdict(list)
    reference = next((runs[0].plan.variant for runs in cells.values()), None)
    for theirs, ours in combinations(cells.values(), 2):
        factor = _factor(theirs[0].plan, ours[0].plan, reference=reference)
        if factor is not None and comparison_problem(_trials((*theirs, *ours))) is None:
            levels = level_texts(ours[0].plan, theirs[0].plan, factor)
            grouped[factor, *levels].append(_pair(ours, theirs, factor, criterion))
    rows: list[Row] = []
    for (factor, level, against), pairs in grouped.items():
        for row in _pair_rows(pairs):
            is_whole = row["difficulty"] == ALL_DIFFICULTIES and row["within"] != OVER_ALL
            is_planned = factor in contrasts and is_whole
            facts = {"factor": factor, "level": level, "against": against}
            rows.append({**facts, "is_planned": is_planned, **row})
    return rows


def equal_token_rows(sweep: SweepRecords) -> list[Row]:
    """Compare trials of one seed at equal tokens, in the order of the plan.

    Returns:
        One row a pair: delta_pp with bounds, the first side minus the second; NaN where there is
        a ``problem``. Without ends of equal tokens the row is about the last ends.

    Raises:
        StorageError: Samples cannot be read.
    """
    stages = planned_stages(sweep)
    mixed = {cell.name for cell in sweep.plan.cells if cell.is_mixed}
    rows = []
    for theirs, ours in combinations(sweep.plan.trials, 2):
        if ours.seed == theirs.seed and _is_compared(ours, theirs, mixed):
            plans = ours, theirs
            runs = sweep.trial(ours.trial_id), sweep.trial(theirs.trial_id)
            after, before = (
                _waypoints(run, stages.get(plan.cell, ()))
                for run, plan in zip(runs, plans, strict=True)
            )
            if after and before:
                criterion = sweep.plan.primary_criterion
                rows.append(_equal_token_row(plans, runs, after, before, criterion))
    return rows


def _factor(first: PlannedTrial, second: PlannedTrial, *, reference: str | None) -> str | None:
    """Return the one key in which two cells differ; variants stand against the first one."""
    differing = differing_factors(first, second)
    if len(differing) != 1 or (differing == ["variant"] and first.variant != reference):
        return None
    return differing[0]


def _trials(runs: Sequence[Comparison]) -> list[Measured]:
    return [run.trial for run in runs if run.trial is not None]


def _pair(
    ours: Sequence[Comparison], theirs: Sequence[Comparison], factor: str, criterion: str
) -> _Pair:
    sides = [
        group(_trials(runs), criterion, baselines=[run.gain.baseline for run in runs if run.gain])
        for runs in (ours, theirs)
    ]
    trial_ids = ours[0].plan.trial_id, theirs[0].plan.trial_id
    return _Pair(_within(ours[0].plan, factor), trial_ids, _trials(ours)[0], *sides)


def _within(plan: PlannedTrial, factor: str) -> str:
    """Return the keys that a pair has in common; method and variant only where they are set."""
    common = [level_text(plan, key) for key in FACTORS[:3] if key != factor]
    if factor != "method" and plan.method != GRPO:
        common.append(plan.method)
    if factor != "variant" and plan.variant is not None:
        common.append(plan.variant)
    return ", ".join(common)


def _pair_rows(pairs: Sequence[_Pair]) -> Iterator[Row]:
    if len(pairs) > 1 and comparison_problem([pair.measured for pair in pairs]) is None:
        ours, theirs = average([pair.ours for pair in pairs]), average([p.theirs for p in pairs])
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


def _is_compared(ours: PlannedTrial, theirs: PlannedTrial, mixed: Collection[str]) -> bool:
    factors = differing_factors(ours, theirs)
    return factors == ["model"] or (
        factors == ["curriculum"] and (ours.cell in mixed or theirs.cell in mixed)
    )


def _waypoints(run: RunRecord, stages: Sequence[Stage]) -> list[_Waypoint]:
    """Return the measured ends of a trial's stages; none where tokens were not recorded."""
    tokens = {step: metrics[TOKENS] for step, metrics in run.metrics if TOKENS in metrics}
    found = [(stage, stage_samples(run, stage.name)) for stage in stages]
    return [
        _Waypoint(stage.name, tokens[stage.step], samples)
        for stage, samples in found
        if samples is not None and stage.step in tokens
    ]


def _equal_token_row(
    plans: tuple[PlannedTrial, PlannedTrial],
    runs: tuple[RunRecord, RunRecord],
    after: Sequence[_Waypoint],
    before: Sequence[_Waypoint],
    criterion: str,
) -> Row:
    found = _latest_equal(after, before)
    ends = found or (after[-1], before[-1])
    (factor,) = differing_factors(*plans)
    level, against = level_texts(*plans, factor)
    shown, problem = Effect(estimate_pp=math.nan, low_pp=math.nan, high_pp=math.nan), None
    if found is None:
        problem = f"never within {TOLERANCE:.0%}"
    else:
        first, second = (
            Measured(run, prompt_table(samples_without_texts(end.samples)))
            for run, end in zip(runs, ends, strict=True)
        )
        if first.table.index.equals(second.table.index):
            shown = effect(difference(first, second, criterion))
        else:
            problem = "on different prompts"
    shared = [key for key in FACTORS if key != factor and getattr(plans[0], key) is not None]
    within = [*(level_text(plans[0], key) for key in shared), f"seed {plans[0].seed}"]
    return {
        "level": level,
        "against": against,
        "within": ", ".join(within),
        "stages": [end.stage for end in ends],
        "tokens": [end.tokens for end in ends],
        **bounds(shown),
        "problem": problem,
    }


def _latest_equal(
    ours: Sequence[_Waypoint], theirs: Sequence[_Waypoint]
) -> tuple[_Waypoint, _Waypoint] | None:
    pairs = (
        (first, second)
        for first in ours
        for second in theirs
        if abs(first.tokens - second.tokens) <= TOLERANCE * max(first.tokens, second.tokens)
    )
    return max(pairs, key=lambda pair: min(pair[0].tokens, pair[1].tokens), default=None)
