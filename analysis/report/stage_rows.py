"""What each stage of a trial reached on the validation split."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.measured import Measured, difference
from analysis.records import RunRecord, prompt_table
from analysis.report.run_rows import RunRows, class_rates, error_class_names
from analysis.report.trial_rows import ALL_DIFFICULTIES, Facts
from analysis.tables import Row
from analysis.verdicts import effect
from strictune.errors import StorageError

__all__ = ["Stage", "stage_samples", "stage_tables"]


class Stage(NamedTuple):
    """One stage of a cell's curriculum, as planned."""

    name: str
    step: int
    """The optimizer step at its end."""


def stage_tables(facts: Facts, record: RunRecord, stages: Sequence[Stage], rung: str) -> RunRows:
    """Return ``stages``, ``stage_errors`` and ``stage_differences`` of a trial, finished or not.

    A stage that has not been evaluated yet has no rows.
    """
    tables: RunRows = {"stages": [], "stage_errors": [], "stage_differences": []}
    before: Measured | None = None
    evaluated = [(stage, _samples(record.folder, stage.name)) for stage in stages]
    found = [(stage, samples) for stage, samples in evaluated if samples is not None]
    classes = error_class_names(*(samples for _, samples in found))
    for stage, samples in found:
        measured = Measured(record, prompt_table(samples))
        shared = {**facts, "stage": stage.name, "step": stage.step}
        errors = class_rates(measured, samples, classes)
        tables["stages"] += [{**shared, **row} for row in _rates(measured, rung)]
        tables["stage_errors"] += [{**shared, **row} for row in errors]
        if before is not None:
            changed = _differences(measured, before, rung)
            tables["stage_differences"] += [{**shared, **row} for row in changed]
        before = measured
    return tables


def stage_samples(trial: Path, stage: str) -> Path | None:
    """Return the samples that a trial gave at the end of a stage; None before."""
    files = sorted((trial / "eval" / "stages" / stage).glob("*/samples.parquet"))
    return files[0] if files else None


def _samples(trial: Path, stage: str) -> pd.DataFrame | None:
    path = stage_samples(trial, stage)
    if path is None:
        return None
    try:
        return pd.read_parquet(path).sort_values(["prompt_id", "sample"])
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read as a table of samples ({error}).") from error


def _rates(measured: Measured, rung: str) -> Iterator[Row]:
    for name, part in _parts(measured):
        rate = part.rate(rung)
        yield {
            "difficulty": name,
            "num_prompts": len(part.table),
            "rate": rate.estimate,
            "low": rate.low,
            "high": rate.high,
        }


def _differences(measured: Measured, before: Measured, rung: str) -> Iterator[Row]:
    """Compare a stage with the one before it, on the prompts that both answered."""
    if not measured.table.index.equals(before.table.index):
        return
    for (name, ours), (_, theirs) in zip(_parts(measured), _parts(before), strict=True):
        found = effect(difference(ours, theirs, rung))
        yield {
            "difficulty": name,
            "delta_pp": found.estimate_pp,
            "low_pp": found.low_pp,
            "high_pp": found.high_pp,
        }


def _parts(measured: Measured) -> Iterator[tuple[str, Measured]]:
    yield ALL_DIFFICULTIES, measured
    for name in measured.table["difficulty"].unique():
        yield str(name), measured.only(name)
