"""What each stage of a trial reached on the validation split."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.measured import Measured
from analysis.records import RunRecord, prompt_table
from analysis.report.run_rows import Row, RunRows, class_rates, error_class_names
from analysis.report.trial_rows import ALL_DIFFICULTIES, Facts
from strictune.errors import StorageError

__all__ = ["Stage", "stage_tables"]


class Stage(NamedTuple):
    """One stage of a cell's curriculum, as planned."""

    name: str
    step: int
    """The optimizer step at its end."""


def stage_tables(facts: Facts, record: RunRecord, stages: Sequence[Stage], rung: str) -> RunRows:
    """Return the tables ``stages`` and ``stage_errors`` of a trial, finished or not.

    A stage that has not been evaluated yet has no rows.
    """
    tables: RunRows = {"stages": [], "stage_errors": []}
    evaluated = [
        (stage, _samples(record.folder / "eval" / "stages" / stage.name)) for stage in stages
    ]
    found = [(stage, samples) for stage, samples in evaluated if samples is not None]
    classes = error_class_names(*(samples for _, samples in found))
    for stage, samples in found:
        measured = Measured(record, prompt_table(samples))
        shared = {**facts, "stage": stage.name, "step": stage.step}
        errors = class_rates(measured, samples, classes)
        tables["stages"] += [{**shared, **row} for row in _rates(measured, rung)]
        tables["stage_errors"] += [{**shared, **row} for row in errors]
    return tables


def _samples(folder: Path) -> pd.DataFrame | None:
    files = sorted(folder.glob("*/samples.parquet"))
    if not files:
        return None
    try:
        return pd.read_parquet(files[0]).sort_values(["prompt_id", "sample"])
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{files[0]}: cannot be read as a table of samples ({error})."
        ) from error


def _rates(measured: Measured, rung: str) -> Iterator[Row]:
    parts = [(ALL_DIFFICULTIES, measured)]
    parts += [(str(name), measured.only(name)) for name in measured.table["difficulty"].unique()]
    for name, part in parts:
        rate = part.rate(rung)
        yield {
            "difficulty": name,
            "num_prompts": len(part.table),
            "rate": rate.estimate,
            "low": rate.low,
            "high": rate.high,
        }
