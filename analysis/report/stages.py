"""What trials reached at the ends of their stages, on the validation split.

Models of one sweep take as many steps, and may write completions of other lengths meanwhile, so
the one that ends higher may only have seen more; so may a trial that begins on gold completions.
Two trials that differ in the model alone, or in a curriculum of both methods, are compared at the
latest two ends whose completion tokens differ by a tenth at most. Exploratory: intervals, no p.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, combinations
from pathlib import Path
from typing import NamedTuple

from analysis.measured import (
    FACTORS,
    Measured,
    compare,
    difference,
    differing_factors,
    group,
    level_text,
    level_texts,
    parts,
)
from analysis.records import TOKENS, RunRecord, SweepRecords, prompt_table, samples_without_texts
from analysis.report.answers import Facts, RunRows, class_rates, error_class_names
from analysis.tables import NOT_MEASURED, Column, Row, Table, bounds, effect_in, number, rate_row
from analysis.verdicts import Effect, effect, effect_text
from strictune.records import PlannedTrial

__all__ = ["EQUAL_TOKENS", "Stage", "equal_token_rows", "planned_stages", "stage_tables"]

TOLERANCE = 0.1
"""How far the tokens of two trials may lie apart, as a share of the larger number."""

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


class Stage(NamedTuple):
    """One stage of a cell's curriculum, as planned."""

    name: str
    step: int
    """The optimizer step at its end."""


class _Waypoint(NamedTuple):
    """What a trial reached at the end of a stage."""

    stage: str
    tokens: float
    """Completion tokens trained on since the beginning."""
    samples: Path


def planned_stages(sweep: SweepRecords) -> dict[str, tuple[Stage, ...]]:
    """Return the stages of each cell."""
    return {
        cell.name: tuple(
            Stage(stage.name, step)
            for stage, step in zip(
                cell.stages, accumulate(stage.steps for stage in cell.stages), strict=True
            )
        )
        for cell in sweep.plan.cells
    }


def stage_tables(facts: Facts, run: RunRecord, stages: Sequence[Stage], criterion: str) -> RunRows:
    """Return ``stages``, ``stage_errors`` and ``stage_differences`` of a trial, finished or not.

    A stage that has not been evaluated yet has no rows.

    Raises:
        StorageError: Samples cannot be read.
    """
    tables: RunRows = {"stages": [], "stage_errors": [], "stage_differences": []}
    before: Measured | None = None
    paths = [(stage, _samples_file(run, stage.name)) for stage in stages]
    found = [(stage, samples_without_texts(path)) for stage, path in paths if path is not None]
    classes = error_class_names(*(samples for _, samples in found))
    for stage, samples in found:
        measured = Measured(run, prompt_table(samples))
        shared = {**facts, "stage": stage.name, "step": stage.step}
        errors = class_rates(measured, samples, classes)
        tables["stages"] += [{**shared, **row} for row in _rates(measured, criterion)]
        tables["stage_errors"] += [{**shared, **row} for row in errors]
        if before is not None:
            changed = _differences(measured, before, criterion)
            tables["stage_differences"] += [{**shared, **row} for row in changed]
        before = measured
    return tables


def equal_token_rows(sweep: SweepRecords) -> list[Row]:
    """Compare trials that differ in the model alone, in the order of the plan.

    So are those that differ in the curriculum alone, where one of the two has stages of both
    methods.

    Returns:
        One row a pair: delta_pp with bounds, the first side minus the second; NaN where there is
        a ``problem``. Without ends of equal tokens the row is about the last ends.

    Raises:
        StorageError: Samples cannot be read.
    """
    stages = planned_stages(sweep)
    mixed = {cell.name for cell in sweep.plan.cells if cell.is_mixed}
    rows = []
    pairs = [
        (ours, theirs)
        for theirs, ours in combinations(sweep.plan.trials, 2)
        if ours.seed == theirs.seed and _is_compared(ours, theirs, mixed)
    ]
    for ours, theirs in pairs:
        runs = sweep.trial(ours.trial_id), sweep.trial(theirs.trial_id)
        after, before = (
            _waypoints(run, stages.get(plan.cell, ()))
            for run, plan in zip(runs, (ours, theirs), strict=True)
        )
        if after and before:
            rows.append(_equal_token_row((ours, theirs), runs, after, before, sweep))
    return rows


def _is_compared(ours: PlannedTrial, theirs: PlannedTrial, mixed: Collection[str]) -> bool:
    factors = differing_factors(ours, theirs)
    return factors == ["model"] or (
        factors == ["curriculum"] and (ours.cell in mixed or theirs.cell in mixed)
    )


def _equal_token_row(
    plans: tuple[PlannedTrial, PlannedTrial],
    runs: tuple[RunRecord, RunRecord],
    after: Sequence[_Waypoint],
    before: Sequence[_Waypoint],
    sweep: SweepRecords,
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
            shown = effect(difference(first, second, sweep.plan.primary_criterion))
        else:
            problem = "on different prompts"
    return {
        "level": level,
        "against": against,
        "within": _within(plans[0], factor),
        "stages": [end.stage for end in ends],
        "tokens": [end.tokens for end in ends],
        **bounds(shown),
        "problem": problem,
    }


def _samples_file(run: RunRecord, stage: str) -> Path | None:
    """Return the samples that a trial gave at the end of a stage; None before."""
    files = sorted((run.folder / "eval" / "stages" / stage).glob("*/samples.parquet"))
    return files[0] if files else None


def _rates(measured: Measured, criterion: str) -> Iterator[Row]:
    for name, part in parts(measured):
        found = Measured(measured.record, measured.table[part])
        rate = found.rate(criterion)
        yield {"difficulty": name, "num_prompts": len(found.table), **rate_row(rate)}


def _differences(measured: Measured, before: Measured, criterion: str) -> Iterator[Row]:
    """Compare a stage with the one before it, where both answered the same prompts."""
    if not measured.table.index.equals(before.table.index):
        return
    ours, theirs = group([measured], criterion), group([before], criterion)
    for name, part in parts(measured):
        yield {"difficulty": name, **bounds(effect(compare(ours, theirs, part=part)))}


def _waypoints(run: RunRecord, stages: Sequence[Stage]) -> list[_Waypoint]:
    """Return the measured ends of a trial's stages; none where tokens were not recorded."""
    tokens = {step: metrics[TOKENS] for step, metrics in run.metrics if TOKENS in metrics}
    found = [(stage, _samples_file(run, stage.name)) for stage in stages]
    return [
        _Waypoint(stage.name, tokens[stage.step], samples)
        for stage, samples in found
        if samples is not None and stage.step in tokens
    ]


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


def _within(plan: PlannedTrial, factor: str) -> str:
    shared = [key for key in FACTORS if key != factor and getattr(plan, key) is not None]
    return ", ".join([*(level_text(plan, key) for key in shared), f"seed {plan.seed}"])
