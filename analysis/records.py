"""Reads what a sweep left behind: the plan, how runs ended, their keys and their samples.

Files in, validated objects and tables out; no statistics. A file that is missing because a
trial never got so far is a state of that trial; a file that cannot be understood is an
error with its path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from analysis.keys import Key
from strictune.errors import SpecError, StorageError
from strictune.logged_metrics import read_metrics

__all__ = [
    "Lock",
    "Plan",
    "PlannedTrial",
    "RunRecord",
    "RunState",
    "check_same_prompts",
    "last_value",
    "prompt_table",
    "read_plan",
    "read_run",
    "read_samples",
]

BASELINES = "baselines"
TRIALS = "trials"
_FACTS = ("prompt_id", "family", "difficulty", "sample")
_MEASURES = ("num_tokens", "is_truncated", "is_thinking")
_SCORED = ("rung/", "measure/")
_Model = TypeVar("_Model", bound=BaseModel)


class RunState(StrEnum):
    """Where a run stands."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    RUNNING = "RUNNING"
    """It has a folder and no outcome: it trains, or was cut off."""
    PENDING = "PENDING"
    """Nothing of it has started."""

    @property
    def word(self) -> str:
        """What tables call it."""
        return "stopped" if self is RunState.KILLED else self.value.lower()


class PlannedTrial(BaseModel, frozen=True):
    """One trial as the plan lists it."""

    trial_id: str
    name: str
    cell: str
    model: str
    thinking: bool
    curriculum: str
    method: str = "grpo"
    variant: str | None = None
    seed: int


class PlannedCell(BaseModel, frozen=True):
    """One cell as the plan lists it."""

    name: str
    ties: tuple[str, ...] = ()
    """Decisive reward components without weight: a wrong answer may tie with a right one."""


class Plan(BaseModel, frozen=True):
    """``plan.json``: fixes the Holm families before anything runs."""

    sweep: str
    task: str
    primary_rung: str
    rungs: tuple[str, ...]
    contrasts: tuple[str, ...] = ()
    cells: tuple[PlannedCell, ...] = ()
    trials: tuple[PlannedTrial, ...]


class Lock(BaseModel, frozen=True):
    """The part of ``lock.json`` that decides what may be compared."""

    evaluation_key: dict[str, str | int | float | bool | None]
    baseline_key: dict[str, str | int | float | bool | None]
    baseline: str
    primary_rung: str | None = None
    """Of a run that belongs to no sweep; else the plan says it."""


class _Outcome(BaseModel, frozen=True):
    state: RunState
    reason: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A trial or a baseline, without its samples."""

    folder: Path
    state: RunState
    reason: str | None = None
    """Why there is no result, where there is none."""
    seconds: float | None = None
    lock: Lock | None = None

    @property
    def name(self) -> str:
        """What messages call the run."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def standing(self) -> str:
        """How it stands, e.g. ``failed (out of memory)``."""
        return f"{self.state.word} ({self.reason})" if self.reason else self.state.word

    @property
    def is_baseline(self) -> bool:
        """Whether this is the measurement of an untrained model."""
        return self.folder.parent.name == BASELINES

    @property
    def locked(self) -> Lock:
        """The lock of a run that has one.

        Raises:
            StorageError: There is none.
        """
        if self.lock is None:
            raise StorageError(f"{self.folder / 'lock.json'}: there is no such file.")
        return self.lock

    @property
    def evaluation_key(self) -> Key:
        """What must be equal for any comparison."""
        return self.locked.evaluation_key

    @property
    def baseline_key(self) -> Key:
        """What must also be equal between a trial and its baseline."""
        return self.locked.baseline_key

    @property
    def split(self) -> str:
        """The final split, which the keys are about."""
        return str(self.evaluation_key["split"])

    @property
    def baseline_folder(self) -> Path:
        """Where the baseline of this trial lies."""
        return self.folder.parents[1] / BASELINES / self.locked.baseline

    @property
    def samples_file(self) -> Path:
        """The samples of the final split."""
        return self.folder / "eval" / self.split / "samples.parquet"


def read_plan(sweep_dir: Path) -> Plan:
    """Read ``plan.json`` of a sweep.

    Raises:
        StorageError: It is missing or not a plan.
    """
    path = sweep_dir / "plan.json"
    if not path.exists():
        raise StorageError(
            f"{path}: there is no such file. Give the folder of a sweep that was started, "
            "e.g. runs/quickstart."
        )
    return _parse(path, Plan)


def read_run(folder: Path) -> RunRecord:
    """Read how a run ended and what it may be compared with.

    A run that has written nothing yet is PENDING: a planned trial has its folder and spec before
    anything starts.

    Raises:
        StorageError: A file is there but cannot be understood.
    """
    if not folder.is_dir():
        return RunRecord(folder=folder, state=RunState.PENDING, reason="not started")
    lock_path, outcome_path = folder / "lock.json", folder / "outcome.json"
    lock = _parse(lock_path, Lock) if lock_path.exists() else None
    if not outcome_path.exists():
        if lock is None:
            return RunRecord(folder=folder, state=RunState.PENDING, reason="not started")
        return RunRecord(folder=folder, state=RunState.RUNNING, reason="not ended", lock=lock)
    outcome = _parse(outcome_path, _Outcome)
    return RunRecord(
        folder=folder,
        state=outcome.state,
        reason=outcome.reason,
        seconds=outcome.seconds,
        lock=lock,
    )


def read_samples(path: Path) -> pd.DataFrame:
    """Read a ``samples.parquet`` without its texts.

    Returns:
        prompt_id, family, difficulty, sample, num_tokens, is_truncated, is_thinking, one
        ``rung/<name>`` column for each rung and one ``measure/<name>`` column for each measure of
        the task; one row a completion.

    Raises:
        StorageError: The file is missing, lacks a column, or holds a sample twice.
    """
    try:
        names = pq.read_schema(path).names
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read as a table of samples ({error}).") from error
    missing = [column for column in (*_FACTS, *_MEASURES) if column not in names]
    if missing:
        raise StorageError(f"{path}: the columns {', '.join(missing)} are missing.")
    scored = [name for name in names if name.startswith(_SCORED)]
    samples = pd.read_parquet(path, columns=[*_FACTS, *_MEASURES, *scored])
    repeated = samples[samples.duplicated(["prompt_id", "sample"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise StorageError(
            f"{path}: sample {first['sample']} of prompt {first['prompt_id']!r} is there twice. "
            "Evaluate this run again."
        )
    return samples


def last_value(folder: Path, metric: str) -> float | None:
    """Return a metric's last value in a run's ``metrics.jsonl``; None if it has no finite one."""
    found = None
    for _, metrics in read_metrics(folder):
        found = metrics.get(metric, found)
    return found if found is None or math.isfinite(found) else None


def prompt_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Average over the samples of each prompt: the unit of every comparison.

    Returns:
        One row per prompt, sorted by prompt_id (the index): family, difficulty,
        num_samples, and the means of the rungs and measures; NaN where none is known.
    """
    scored = [str(name) for name in samples.columns if str(name).startswith(_SCORED)]
    groups = samples.groupby("prompt_id", sort=True)
    means = groups[[*scored, *_MEASURES]].mean()
    facts = groups[["family", "difficulty"]].first()
    return facts.assign(num_samples=groups.size()).join(means)


def check_same_prompts(tables: Sequence[pd.DataFrame], *, names: Sequence[str]) -> None:
    """Check that tables of one evaluation key hold the same prompts, in the same families.

    Raises:
        SpecError: They do not; the message counts what one side lacks.
    """
    first, first_name = tables[0], names[0]
    for table, name in zip(tables[1:], names[1:], strict=True):
        only_first = len(first.index.difference(table.index))
        only_other = len(table.index.difference(first.index))
        if only_first or only_other:
            raise SpecError(
                f"{first_name} and {name} cannot be compared, they were measured on different "
                f"prompts: {only_first} only in {first_name}, {only_other} only in {name}, "
                f"{len(first.index.intersection(table.index))} in both. Evaluate both again."
            )
        moved = int((first["family"] != table["family"]).sum())
        if moved:
            raise SpecError(
                f"{first_name} and {name} cannot be compared: {moved} prompts belong to another "
                "family in one of them. Evaluate both again."
            )


def _parse(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise StorageError(f"{path}: {where}: {first['msg']}.") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error}).") from error
