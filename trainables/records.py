"""What a trial writes into its folder, so that a kill at any moment loses and doubles nothing.

``progress.json`` is the one commit point. It is replaced atomically when a checkpoint is
complete and says how much of everything else belongs to that checkpoint: the step, the
checkpoint's folder, and the size of ``metrics.jsonl``. On resume, what lies beyond is cut
off and trained again. Readers that must not see a step twice read up to the same point.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from strictune.errors import StorageError
from trainables.rollouts.completion import Completion
from trainables.tasks.task import Prompt, Score

__all__ = [
    "FollowedRecords",
    "Outcome",
    "Progress",
    "TrialRecords",
    "durable_step",
    "read_outcome",
    "record_failure",
    "write_json",
]

OutcomeState = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The last durable state of a trial."""

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
    """See ``TrialRecords.count_tokens``."""
    state: str = "RUNNING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial ended."""

    state: OutcomeState
    reason: str | None
    steps: int
    seconds: float
    started: float
    ended: float


class TrialRecords:
    """The writer of one trial's ``metrics.jsonl``, ``rewards/``, ``progress.json``."""

    completion_tokens = 0
    """Completion tokens that were trained on so far, see ``count_tokens``."""

    def __init__(self, folder: Path) -> None:
        """Open the records of a trial, dropping what a killed attempt left uncommitted."""
        self.folder = folder
        self._rewards = folder / "rewards"
        self._rewards.mkdir(parents=True, exist_ok=True)
        self._metrics_path = folder / "metrics.jsonl"
        self.progress = _read_progress(folder)
        self._started = time.time() - self.progress.seconds
        self.completion_tokens = self.progress.completion_tokens
        self._rows: list[dict[str, Any]] = []
        self._roll_back()
        self._metrics = self._metrics_path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Append one line; values that are missing or not finite were not measured."""
        measured = {
            name: float(value)
            for name, value in metrics.items()
            if value is not None and np.isfinite(value)
        }
        line = {"step": step, "time": time.time(), "metrics": measured}
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    def has_logged(self, step: int, name: str) -> bool:
        """Say whether a metric of this step is on record."""
        lines = self._metrics_path.read_text(encoding="utf-8").splitlines()
        return any(
            line["step"] == step and name in line["metrics"] for line in map(json.loads, lines)
        )

    def add_rewards(
        self,
        step: int,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        scores: Sequence[Score],
        *,
        weights: Mapping[str, float],
        group_size: int,
    ) -> None:
        """Keep one row for each training completion until the next commit.

        Columns: step, prompt_id, difficulty, group, ``reward/<component>``, total,
        ``rung/<name>``, ``measure/<name>``, parts (JSON text, of scores that have any),
        is_truncated, num_tokens. What could not be measured is NaN, in rungs null; so is the
        total of a completion that lacks a component.
        """
        triples = zip(prompts, completions, scores, strict=True)
        for index, (prompt, completion, score) in enumerate(triples):
            rewards = {name: score.rewards.get(name, np.nan) for name in weights}
            self._rows.append(
                {
                    "step": step,
                    "prompt_id": prompt.id,
                    "difficulty": prompt.difficulty,
                    "group": index // group_size,
                    **{f"reward/{name}": value for name, value in rewards.items()},
                    "total": sum(weights[name] * value for name, value in rewards.items()),
                    **{f"rung/{name}": holds for name, holds in score.rungs.items()},
                    **{f"measure/{name}": value for name, value in score.measures.items()},
                    **({"parts": json.dumps(dict(score.parts))} if score.parts else {}),
                    "is_truncated": completion.is_truncated,
                    "num_tokens": completion.num_tokens,
                }
            )

    def count_tokens(self, completion_tokens: int) -> None:
        """Add tokens of completions that the loss reads, each time that it does.

        Prompts and padding do not count, so that methods of training can be compared.
        """
        self.completion_tokens += completion_tokens

    def commit(self, *, step: int, stage: int, checkpoint: Path | None) -> None:
        """Make everything so far durable, as belonging to ``step``."""
        if self._rows:
            part = self._rewards / f"part-{step:08d}.parquet"
            _replace(part, lambda path: pd.DataFrame(self._rows).to_parquet(path, index=False))
            self._rows = []
        self._metrics.flush()
        os.fsync(self._metrics.fileno())
        self.progress = Progress(
            step=step,
            stage=stage,
            checkpoint=self._relative(checkpoint),
            metrics_bytes=self._metrics_path.stat().st_size,
            seconds=self.seconds,
            completion_tokens=self.completion_tokens,
        )
        write_json(self.folder / "progress.json", asdict(self.progress))

    def end(self, state: OutcomeState, reason: str | None = None) -> Outcome:
        """Write ``outcome.json``: the trial is over, and is not run again."""
        self._metrics.close()
        outcome = Outcome(
            state=state,
            reason=reason,
            steps=self.progress.step,
            seconds=self.seconds,
            started=self._started,
            ended=time.time(),
        )
        write_json(self.folder / "outcome.json", asdict(outcome))
        return outcome

    def close(self) -> None:
        """Let go of the files without ending the trial."""
        self._metrics.close()

    @property
    def seconds(self) -> float:
        """Time spent, over all attempts up to their last commit."""
        return time.time() - self._started

    def _relative(self, checkpoint: Path | None) -> str | None:
        return None if checkpoint is None else str(checkpoint.relative_to(self.folder))

    def _roll_back(self) -> None:
        if self._metrics_path.exists():
            os.truncate(self._metrics_path, self.progress.metrics_bytes)
        for part in self._rewards.glob("part-*.parquet"):
            if int(part.stem.removeprefix("part-")) > self.progress.step:
                part.unlink()


class FollowedRecords(TrialRecords):
    """The records for a rank that does not write them: it follows the progress of the first."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        """Go on from ``progress``, the first rank's."""
        self.folder = folder
        self.progress = progress

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Do nothing."""

    def add_rewards(
        self,
        step: int,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        scores: Sequence[Score],
        *,
        weights: Mapping[str, float],
        group_size: int,
    ) -> None:
        """Do nothing."""

    def commit(self, *, step: int, stage: int, checkpoint: Path | None) -> None:
        """Keep in mind where training goes on."""
        self.progress = Progress(step=step, stage=stage, checkpoint=self._relative(checkpoint))


def durable_step(folder: Path) -> int:
    """Return the last step that a resume would keep."""
    return _read_progress(folder).step


def read_outcome(folder: Path) -> Outcome | None:
    """Return how the trial in ``folder`` ended, or None while it has not."""
    path = folder / "outcome.json"
    return Outcome(**json.loads(path.read_text())) if path.exists() else None


def record_failure(folder: Path, reason: str) -> Outcome:
    """End a trial as FAILED from outside: its process died, or its records cannot be read."""
    try:
        progress = _read_progress(folder)
    except StorageError:
        progress = Progress()
    now = time.time()
    outcome = Outcome(
        state="FAILED",
        reason=reason,
        steps=progress.step,
        seconds=progress.seconds,
        started=now - progress.seconds,
        ended=now,
    )
    write_json(folder / "outcome.json", asdict(outcome))
    return outcome


def write_json(path: Path, document: object) -> None:
    """Write a JSON file atomically: readers see the old one or the new one."""
    text = json.dumps(document, indent=2, sort_keys=False) + "\n"
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(path)


def _read_progress(folder: Path) -> Progress:
    path = folder / "progress.json"
    if not path.exists():
        return Progress()
    try:
        return Progress(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{path} cannot be read ({error}). Remove the trial's folder to train it again."
        ) from error
