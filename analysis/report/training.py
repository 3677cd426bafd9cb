"""Rows on training: stages, curves over steps, parts of rewards, and the judge.

The unit of a curve is the step: its completions come from one policy and share their prompts.
Within a span the mean over steps has a t interval, in which drift counts as noise. Seeds of a cell
are put together.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import stats

from analysis.answers import Facts, RunRows, class_rates, error_class_names
from analysis.measured import Measured, compare, group, parts
from analysis.records import RunRecord, SweepRecords, prompt_table, samples_without_texts
from analysis.tables import Row, bounds, rate_row
from analysis.verdicts import effect
from strictune.records import reward_parts

__all__ = [
    "FAILING_ABOVE_PASSING",
    "FLAT_GROUPS",
    "MAX_SERIES",
    "Stage",
    "curve_tables",
    "judge_rows",
    "part_rows",
    "planned_stages",
    "shares_at_end",
    "stage_samples",
    "stage_tables",
]

MIN_STEPS = 5
"""Fewest steps of a span, where there are as many."""
MAX_SPANS = 24
MAX_SERIES = 6
"""Cells whose curves are read and drawn: so many series do marks keep apart."""
SAME = 1e-9
MAX_PARTS = 40
"""Those of most groups; names may be as many as prompts."""
JUDGE = "train/judge/"
COUNTED = ("calls", "retries", "prompt_tokens", "completion_tokens", "cost_usd")
"""Metrics that add up over steps; the others are shares and times."""

_REWARD, _MEAN = "reward/", "/mean"
_THINK = "train/think_rate"
FLAT_GROUPS = "reward/zero_std_groups_frac"
FAILING_ABOVE_PASSING = "train/failing_above_passing_frac"
_ADAPTIVE = "train/adaptive/"
_DEALT = {
    "drawn_frac": "drawn: {}",
    "pass_rate": "pass rate: {}",
    "prompts_frac": "prompts of {} pass rate",
}
"""Panels of what a stage with ``mix: adaptive`` logs."""


class Stage(NamedTuple):
    """One stage of a cell's curriculum, as planned."""

    name: str
    step: int
    """The optimizer step at its end."""


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
    paths = [(stage, stage_samples(run, stage.name)) for stage in stages]
    found = [(stage, samples_without_texts(path)) for stage, path in paths if path is not None]
    classes = error_class_names(*(samples for _, samples in found))
    for stage, samples in found:
        measured = Measured(run, prompt_table(samples))
        shared = {**facts, "stage": stage.name, "step": stage.step}
        errors = class_rates(measured, samples, classes)
        tables["stages"] += [{**shared, **row} for row in _stage_rates(measured, criterion)]
        tables["stage_errors"] += [{**shared, **row} for row in errors]
        if before is not None:
            changed = _stage_differences(measured, before, criterion)
            tables["stage_differences"] += [{**shared, **row} for row in changed]
        before = measured
    return tables


def stage_samples(run: RunRecord, stage: str) -> Path | None:
    """Return the file of a trial's samples at the end of a stage; None before."""
    files = sorted((run.folder / "eval" / "stages" / stage).glob("*/samples.parquet"))
    return files[0] if files else None


def curve_tables(cells: Mapping[str, Sequence[RunRecord]]) -> RunRows:
    """Return ``rewards``, ``think_rates``, ``zero_std_groups`` and ``dealt`` of cells' trials."""
    tables: RunRows = {"rewards": [], "think_rates": [], "zero_std_groups": [], "dealt": []}
    for cell, runs in cells.items():
        for key, points in _points(runs).items():
            if (home := _home(key)) is not None:
                table, names = home
                rows = _spans(points, is_share=table != "rewards")
                tables[table] += [{"cell": cell, **names, **row} for row in rows]
    return tables


def _home(key: str) -> tuple[str, Row] | None:
    """Return the table of a metric, and what tells its rows from others; None if it is in none."""
    if key == _THINK:
        return "think_rates", {}
    if key == FLAT_GROUPS:
        return "zero_std_groups", {}
    if key.startswith(_ADAPTIVE):
        kind, _, name = key.removeprefix(_ADAPTIVE).partition("/")
        return "dealt", {"panel": _DEALT[kind].format(name)}
    if key.startswith(_REWARD) and key.endswith(_MEAN):
        return "rewards", {"component": key.removeprefix(_REWARD).removesuffix(_MEAN)}
    return None


def shares_at_end(metric: str, cells: Mapping[str, Sequence[RunRecord]]) -> dict[str, float]:
    """Return each cell's mean of a share that training logs, over its last span of steps.

    A cell whose trials recorded no such share is left out.
    """
    found = {}
    for cell, runs in cells.items():
        logged = (entry for run in runs for entry in run.metrics)
        if points := [(step, values[metric]) for step, values in logged if metric in values]:
            *_, last = _spans(points, is_share=True)
            found[cell] = float(last["mean"])
    return found


def judge_rows(facts: Facts, run: RunRecord) -> list[Row]:
    """Return one row for each metric of a trial's judge; empty for a task that asks none.

    Returns:
        ``mean`` and ``largest`` of a step's batch, and ``total`` over all steps, None where a
        sum says nothing.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for _, metrics in run.metrics:
        for key, value in metrics.items():
            if key.startswith(JUDGE):
                values[key.removeprefix(JUDGE)].append(float(value))
    return [
        {
            **facts,
            "fact": name,
            "mean": float(np.mean(found)),
            "largest": max(found),
            "total": sum(found) if name in COUNTED else None,
        }
        for name, found in sorted(values.items())
    ]


def part_rows(facts: Facts, run: RunRecord) -> list[Row]:
    """Return one row for each part of a trial's rewards, those of most groups first.

    Parts are scores whose names the data choose, such as rubrics. One that does not vary within a
    group teaches nothing there, however much it weighs.

    Returns:
        ``num_groups`` of two completions or more that have it, ``first`` and ``last``, the means
        over the first and the last third of these groups in the order of training, and
        ``flat_frac``, the share of them in which all completions have the same.
    """
    groups: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for table in _tables_of_parts(run):
        for _, rows in table.groupby(["step", "prompt_id", "group"], sort=True):
            for name, values in _parts(rows["parts"]).items():
                if len(values) > 1:
                    is_flat = max(values) - min(values) <= SAME
                    groups[name].append((float(np.mean(values)), is_flat))
    most = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_PARTS]
    return [{**facts, "part": name, **_part_row(found)} for name, found in most]


def _points(runs: Sequence[RunRecord]) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every metric, over all trials of a cell."""
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for run in runs:
        for step, metrics in run.metrics:
            for key, value in metrics.items():
                points[key].append((step, value))
    return points


def _spans(points: Sequence[tuple[int, float]], *, is_share: bool) -> Iterator[Row]:
    steps = np.array([step for step, _ in points])
    values = np.array([value for _, value in points], dtype=np.float64)
    present = np.unique(steps)
    count = max(1, min(MAX_SPANS, len(present) // MIN_STEPS))
    for span in np.array_split(present, count):
        part = values[(steps >= span[0]) & (steps <= span[-1])]
        half = np.nan
        if len(part) > 1:
            half = float(stats.t.ppf(0.975, len(part) - 1) * part.std(ddof=1) / np.sqrt(len(part)))
        mean = float(part.mean())
        low, high = mean - half, mean + half
        yield {
            "step": float((span[0] + span[-1]) / 2),
            "num_steps": len(part),
            "mean": mean,
            "low": max(low, 0.0) if is_share else low,
            "high": min(high, 1.0) if is_share else high,
        }


def _tables_of_parts(run: RunRecord) -> Iterator[pd.DataFrame]:
    for path in reward_parts(run.folder).values():
        if "parts" in pq.read_schema(path).names:
            yield pd.read_parquet(path, columns=["step", "prompt_id", "group", "parts"])


def _parts(texts: "pd.Series[str]") -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for text in texts.dropna():
        for name, value in json.loads(text).items():
            found[name].append(float(value))
    return found


def _part_row(found: list[tuple[float, bool]]) -> Row:
    means = [mean for mean, _ in found]
    third = max(1, len(means) // 3)
    return {
        "num_groups": len(found),
        "first": float(np.mean(means[:third])),
        "last": float(np.mean(means[-third:])),
        "flat_frac": sum(is_flat for _, is_flat in found) / len(found),
    }


def _stage_rates(measured: Measured, criterion: str) -> Iterator[Row]:
    for name, part in parts(measured):
        found = Measured(measured.record, measured.table[part])
        rate = found.rate(criterion)
        yield {"difficulty": name, "num_prompts": len(found.table), **rate_row(rate)}


def _stage_differences(measured: Measured, before: Measured, criterion: str) -> Iterator[Row]:
    """Compare a stage with the one before it, where both answered the same prompts."""
    if not measured.table.index.equals(before.table.index):
        return
    ours, theirs = group([measured], criterion), group([before], criterion)
    for name, part in parts(measured):
        yield {"difficulty": name, **bounds(effect(compare(ours, theirs, part=part)))}
