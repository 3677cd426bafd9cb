"""Writes recorded completions as runs: a folder for each arm, as trials and baselines have.

An arm is the completions of one setup. Its folder holds ``samples.parquet``, ``lock.json`` and
``outcome.json``, so that it is measured, and compared, like any other run. An arm and its
baseline are two values of one column that agree on every other column.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.measured import Measured, measure
from analysis.records import read_run
from strictune.errors import SpecError
from strictune.records import BASELINES, TRIALS, write_text

__all__ = ["Arm", "BaselineIs", "completion_table", "differing", "write_runs"]

ROWS_PER_PART = 10_000
SPLIT = "recorded"
"""The split of recorded completions in keys."""

Columns = dict[str, str]
"""What names an arm, in the order asked for."""


class BaselineIs(NamedTuple):
    """Which arms are baselines: those whose ``column`` holds ``value``."""

    column: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """All completions of one setup."""

    name: str
    """Its values; those that say nothing alone stand behind their column."""
    columns: Columns
    baseline: str | None
    """The name of its baseline, where it has one."""
    is_thinking_asked: bool
    """All of its prompts asked for a think block."""
    run: Measured

    @property
    def is_baseline(self) -> bool:
        """Whether it was not trained."""
        return self.run.record.is_baseline


def completion_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Gather rows into a table, part by part: a row of numbers takes a tenth of its mapping."""
    waiting = iter(rows)
    parts = []
    while part := list(islice(waiting, ROWS_PER_PART)):
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def write_runs(
    rows: pd.DataFrame,
    folder: Path,
    *,
    criterion: str,
    key: Mapping[str, str],
    baseline: BaselineIs | None = None,
) -> tuple[Arm, ...]:
    """Write each arm as a run below ``trials/`` or ``baselines/``, and measure it.

    Args:
        rows: One row a completion: ``arm/<column>``, is_thinking_asked, and what
            ``samples.parquet`` holds but for ``sample``.
        folder: Where the two lie.
        criterion: The criterion to judge by; comparisons take it where none is given.
        key: What else must be equal in comparisons, e.g. the scorer.
        baseline: Which arms were not trained.

    Returns:
        The arms in order of appearance.

    Raises:
        SpecError: No arm is a baseline.
    """
    names = [str(name) for name in rows.columns if str(name).startswith("arm/")]
    parts = rows.groupby(names, sort=False) if names else [((), rows)]
    columns = [
        {name.removeprefix("arm/"): str(value) for name, value in zip(names, values, strict=True)}
        for values, _ in parts
    ]
    untrained = [one for one in columns if baseline and one[baseline.column] == baseline.value]
    if baseline and not untrained:
        found = dict.fromkeys(one[baseline.column] for one in columns)
        raise SpecError(
            f"--baseline {baseline.column}={baseline.value}: no completion has this value, "
            f"expected one of {', '.join(found)}."
        )
    arms = []
    for own, (_, part) in zip(columns, parts, strict=True):
        fits = [one for one in untrained if baseline and differing(own, one) == [baseline.column]]
        run = folder / (BASELINES if own in untrained else TRIALS) / _slug(own)
        same = {n: value for n, value in own.items() if baseline is None or n != baseline.column}
        evaluation = {"split": SPLIT, **key}
        lock = {
            "evaluation_key": evaluation,
            "baseline_key": evaluation | same,
            "baseline": _slug(fits[0]) if fits else "",
            "primary_criterion": criterion,
        }
        _write_run(run, part.drop(columns=names), lock)
        arms.append(
            Arm(
                name=_name(own),
                columns=own,
                baseline=_name(fits[0]) if fits else None,
                is_thinking_asked=bool(part["is_thinking_asked"].all()),
                run=measure(read_run(run)),
            )
        )
    return tuple(arms)


def differing(first: Columns, second: Columns) -> list[str]:
    """Return the columns in which two arms differ."""
    return [column for column in first if first[column] != second[column]]


def _write_run(folder: Path, rows: pd.DataFrame, lock: Mapping[str, Any]) -> None:
    samples = folder / "eval" / SPLIT / "samples.parquet"
    samples.parent.mkdir(parents=True)
    rows.assign(sample=rows.groupby("prompt_id").cumcount()).to_parquet(samples, index=False)
    write_text(folder / "lock.json", json.dumps(lock, indent=2))
    write_text(folder / "outcome.json", json.dumps({"state": "FINISHED"}))


def _name(columns: Columns) -> str:
    parts = (value if _is_word(value) else f"{name}={value}" for name, value in columns.items())
    return ", ".join(parts) or "all"


def _is_word(value: str) -> bool:
    """Whether a value can be shown without its column: not ``true``, ``3`` or ``null``."""
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


def _slug(columns: Columns) -> str:
    """Return the folder's name; a digest keeps apart what reads alike."""
    digest = hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:6]
    readable = re.sub(r"[^a-z0-9.]+", "-", _name(columns).lower()).strip("-.")
    return f"{readable[:80]}-{digest}"
