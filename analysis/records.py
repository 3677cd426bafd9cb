"""The runs of a sweep, read from their folders: state, keys, samples and metrics.

Each file is read once, by ``strictune.records``. A file that is missing since a trial never got so
far is a state of that trial.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from strictune.errors import SpecError, StorageError
from strictune.records import (
    BASELINES,
    TRIALS,
    KeyValue,
    Lock,
    read_lock,
    read_metrics,
    read_outcome,
    read_plan,
    read_samples,
)

__all__ = [
    "TOKENS",
    "Key",
    "RunRecord",
    "RunState",
    "SweepRecords",
    "check_same_prompts",
    "last_value",
    "prompt_table",
    "read_run",
    "samples_without_texts",
]

Key = Mapping[str, KeyValue]

TOKENS = "train/completion_tokens"
_TEXTS = ("completion", "details")
_MEASURES = ("num_tokens", "is_truncated", "is_thinking")
_SCORED = ("criterion/", "measure/")


class RunState(StrEnum):
    """The state of a run."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    RUNNING = "RUNNING"
    """It has a folder and no outcome: it trains, or was cut off."""
    PENDING = "PENDING"
    """Nothing of it has started."""

    @property
    def word(self) -> str:
        """The state in tables."""
        return "stopped" if self is RunState.KILLED else self.value.lower()


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A trial, a baseline or a control; its tables are read when they are first asked for."""

    folder: Path
    state: RunState
    reason: str | None = None
    """Why there is no result, where there is none."""
    seconds: float | None = None
    lock: Lock | None = None

    @property
    def name(self) -> str:
        """The run's name in messages."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def standing(self) -> str:
        """State and reason, e.g. ``failed (out of memory)``."""
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
        """The folder of this trial's baseline."""
        return self.folder.parents[1] / BASELINES / self.locked.baseline

    @property
    def samples_file(self) -> Path:
        """The samples of the final split."""
        return self.folder / "eval" / self.split / "samples.parquet"

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The samples of the final split, see ``samples_without_texts``.

        Raises:
            StorageError: They are missing or cannot be used.
        """
        return samples_without_texts(self.samples_file)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a prompt of the final split, see ``prompt_table``."""
        return prompt_table(self.samples)

    @cached_property
    def metrics(self) -> Sequence[tuple[int, dict[str, float]]]:
        """Step and values of each line of ``metrics.jsonl``."""
        return list(read_metrics(self.folder))

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """The content of ``summary.json`` of the final evaluation; empty if there is none."""
        path = self.samples_file.parent / "summary.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    @property
    def decoding_speed(self) -> float:
        """Completion tokens a second of the final evaluation; NaN if not recorded.

        Scoring is in the time, and loading the model is not.
        """
        if not self.summary.get("seconds"):
            return math.nan
        tokens = self.summary["num_completions"] * self.summary["completion_tokens_mean"]
        return float(tokens / self.summary["seconds"])

    @property
    def missing_frac(self) -> float:
        """Share of the completions that could not be scored; 0 if not recorded.

        They count in no rate. With all of them scored, a rate would be at most so much higher or
        lower (Manski, "Nonparametric Bounds on Treatment Effects", 1990).
        """
        missing = self.summary.get("num_missing", 0)
        return float(missing / (missing + self.summary["num_completions"])) if missing else 0.0

    @property
    def trained_tokens(self) -> float:
        """Completion tokens that the loss read, each time that it did; NaN if not recorded."""
        return next((m[TOKENS] for _, m in reversed(self.metrics) if TOKENS in m), math.nan)

    @property
    def training_s(self) -> float:
        """Seconds of the optimizer steps; NaN if not recorded.

        With GRPO its generation and scoring are in it; evaluations and checkpoints are not.
        """
        seconds, before = math.nan, 0
        for step, metrics in self.metrics:
            if "time/step_s" in metrics:
                # The mean over the steps since the line before.
                passed = metrics["time/step_s"] * (step - before)
                seconds, before = passed if math.isnan(seconds) else seconds + passed, step
        return seconds


class SweepRecords:
    """A sweep's plan and runs, each read once."""

    def __init__(self, folder: Path) -> None:
        """Read the plan.

        Raises:
            StorageError: ``plan.json`` is missing or cannot be understood.
        """
        self.folder = folder
        self.plan = read_plan(folder)
        self._runs: dict[Path, RunRecord] = {}

    def trial(self, trial_id: str) -> RunRecord:
        """Return a planned trial, begun or not."""
        return self.run(self.folder / TRIALS / trial_id)

    def run(self, folder: Path) -> RunRecord:
        """Return the run in a folder of the sweep.

        Raises:
            StorageError: A file is there but cannot be understood.
        """
        if folder not in self._runs:
            self._runs[folder] = read_run(folder)
        return self._runs[folder]


def read_run(folder: Path) -> RunRecord:
    """Read the state and the keys of a run; one that has written nothing yet is PENDING.

    Raises:
        StorageError: A file is there but cannot be understood.
    """
    lock, outcome = read_lock(folder), read_outcome(folder)
    if outcome is not None:
        return RunRecord(
            folder=folder,
            state=RunState(outcome.state),
            reason=outcome.reason,
            seconds=outcome.seconds,
            lock=lock,
        )
    if lock is None:
        return RunRecord(folder=folder, state=RunState.PENDING, reason="not started")
    return RunRecord(folder=folder, state=RunState.RUNNING, reason="not ended", lock=lock)


def samples_without_texts(path: Path) -> pd.DataFrame:
    """Read a ``samples.parquet`` without its texts and rewards, in the order of the prompts.

    Raises:
        StorageError: It is missing or cannot be used.
    """
    samples = read_samples(path, with_texts=True)
    left_out = [name for name in samples if name in _TEXTS or str(name).startswith("reward/")]
    return samples.drop(columns=left_out).sort_values(["prompt_id", "sample"])


def last_value(folder: Path, metric: str) -> float | None:
    """Return a metric's last value in a run's ``metrics.jsonl``; None if it has no finite one."""
    found = None
    for _, metrics in read_metrics(folder):
        found = metrics.get(metric, found)
    return found if found is None or math.isfinite(found) else None


def prompt_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Average over the samples of each prompt, the unit of every comparison.

    Returns:
        One row per prompt, sorted by prompt_id (the index): family, difficulty,
        num_samples, and the means of the criteria and measures; NaN where none is known.
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
