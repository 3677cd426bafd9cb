"""The files of one run (a trial, a baseline or a control): lock, progress and outcome."""

import contextlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from strictune.records.files import find_model, write_json

__all__ = [
    "ATTEMPTS",
    "DELTA",
    "LOCK",
    "OUTCOME",
    "PROGRESS",
    "Attempt",
    "Delta",
    "KeyValue",
    "Lock",
    "Outcome",
    "OutcomeState",
    "Progress",
    "read_attempts",
    "read_delta",
    "read_lock",
    "read_outcome",
    "read_progress",
    "write_outcome",
    "write_progress",
]

LOCK, PROGRESS, OUTCOME = "lock.json", "progress.json", "outcome.json"
DELTA, ATTEMPTS = "delta.json", "attempts.jsonl"

KeyValue = str | int | float | bool | None
OutcomeState = Literal["FINISHED", "FAILED", "KILLED"]

_TRAIN_AGAIN = "Remove the folder of this run to have it run again."


class Lock(BaseModel, frozen=True):
    """``lock.json``: what exactly produced a run's numbers, and which process wrote last."""

    evaluation_key: dict[str, KeyValue]
    """What must be equal for any comparison."""
    baseline_key: dict[str, KeyValue]
    """What must also be equal between a trial and its baseline."""
    baseline: str
    """Digest of the baseline key, the name of the baseline's folder."""
    model_revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    data_hash: str | None = None
    scorer_hash: str | None = None
    seed: int | None = None
    primary_criterion: str | None = None
    """Of a run that belongs to no sweep; else the plan says it."""
    git_sha: str | None = None
    packages: dict[str, str | None] = {}
    device: str = ""
    torch_threads: int = 1
    host: str = ""
    pid: int | None = None


class Progress(BaseModel, frozen=True):
    """``progress.json``: the last durable state of a trial, its one commit point."""

    step: int = 0
    """Optimizer steps over all stages."""
    stage: int = 0
    """Index of the stage that goes on."""
    checkpoint: str | None = None
    """Trainer checkpoint inside the stage, relative to the trial's folder; None at its start."""
    metrics_bytes: int = 0
    """Durable size of ``metrics.jsonl``."""
    seconds: float = 0.0
    """Time spent up to here, over all attempts."""
    completion_tokens: int = 0
    """Completion tokens that the loss has read so far."""
    state: str = "RUNNING"


class Outcome(BaseModel, frozen=True):
    """``outcome.json``: how a run ended. A run without one has not."""

    state: OutcomeState
    reason: str | None = None
    """Why it failed or was stopped."""
    steps: int = 0
    seconds: float | None = None
    started: float | None = None
    """In seconds since the epoch."""
    ended: float | None = None


class Attempt(BaseModel, frozen=True):
    """A line of ``attempts.jsonl``: a process began to train a trial."""

    time: float
    """In seconds since the epoch."""
    why: str | None
    """Why it was needed; None for the first one."""
    step: int = 0
    """Of the checkpoint that it starts from."""
    driver: str = ""
    """Names the run of the sweep."""
    pid: int | None = None
    node: str = ""


class Delta(BaseModel, frozen=True):
    """``delta.json``: a finished trial against its baseline, written once the sweep is judged."""

    metrics: dict[str, float] = {}
    verdict: str | None = None
    text: str | None = None
    """The verdict in a sentence."""


def read_lock(run: Path) -> Lock | None:
    """Read ``lock.json`` of a run's folder; None before it has begun.

    Raises:
        StorageError: It cannot be understood.
    """
    return find_model(run / LOCK, Lock, cure=_TRAIN_AGAIN)


def read_progress(run: Path) -> Progress:
    """Read ``progress.json`` of a run's folder; before its first checkpoint it stands at step 0.

    Raises:
        StorageError: It cannot be understood.
    """
    return find_model(run / PROGRESS, Progress, cure=_TRAIN_AGAIN) or Progress()


def write_progress(run: Path, progress: Progress) -> None:
    """Write ``progress.json``, the commit of all that the run has written so far."""
    write_json(run / PROGRESS, progress.model_dump())


def read_outcome(run: Path) -> Outcome | None:
    """Read ``outcome.json`` of a run's folder; None while it has not ended.

    Raises:
        StorageError: It cannot be understood.
    """
    cure = "Remove the file and resume the sweep to have the run go on."
    return find_model(run / OUTCOME, Outcome, cure=cure)


def write_outcome(run: Path, outcome: Outcome) -> None:
    """Write ``outcome.json``: the run has ended."""
    write_json(run / OUTCOME, outcome.model_dump())


def read_attempts(run: Path) -> list[Attempt]:
    """Read ``attempts.jsonl`` of a trial's folder; a line that was cut off is left out."""
    attempts = []
    path = run / ATTEMPTS
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValidationError):
            attempts.append(Attempt.model_validate_json(line))
    return attempts


def read_delta(run: Path) -> Delta | None:
    """Read ``delta.json`` of a trial's folder; None where it was not compared.

    Raises:
        StorageError: It cannot be understood.
    """
    return find_model(run / DELTA, Delta, cure="`strictune report` writes it again.")
