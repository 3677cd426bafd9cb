"""The writer of a trial's records; a kill at any moment loses and doubles nothing.

``progress.json`` is the one commit point. It is replaced atomically when a checkpoint is
complete and says how much of everything else belongs to that checkpoint: the step, the
checkpoint's folder, and the size of ``metrics.jsonl``. On resume, what lies beyond is cut
off and trained again. Readers that must not see a step twice read up to the same point.
"""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from strictune.errors import StorageError
from strictune.records import (
    ATTEMPTS,
    METRICS,
    REWARDS,
    Attempt,
    Outcome,
    OutcomeState,
    Progress,
    part_path,
    read_attempts,
    read_metrics,
    read_progress,
    replacing,
    reward_parts,
    write_outcome,
    write_progress,
)
from trainables.pulse import has_hung
from trainables.rollouts.completion import Completion
from trainables.tasks.task import Prompt, Score

__all__ = [
    "DIED",
    "HUNG",
    "RESUMED",
    "FollowedRecords",
    "TrialRecords",
    "begin_attempt",
    "durable_step",
    "record_failure",
]

DIED = "its process died"
HUNG = "it hung"
RESUMED = "resumed"


class TrialRecords:
    """The writer of one trial's ``metrics.jsonl``, ``rewards/``, ``progress.json``."""

    completion_tokens = 0
    """Completion tokens that were trained on so far, see ``count_tokens``."""

    def __init__(self, folder: Path) -> None:
        """Open the records of a trial, dropping what a killed attempt left uncommitted."""
        self.folder = folder
        (folder / REWARDS).mkdir(parents=True, exist_ok=True)
        self._metrics_path = folder / METRICS
        self.progress = read_progress(folder)
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
        """Return whether a metric of this step is on record."""
        return any(logged == step and name in found for logged, found in read_metrics(self.folder))

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
        ``criterion/<name>``, ``measure/<name>``, parts (JSON text, of scores that have any),
        is_truncated, num_tokens. What could not be measured is NaN, in criteria null. A total
        sums up the components that are known, as TRL does; without any it is NaN.
        """
        triples = zip(prompts, completions, scores, strict=True)
        # A step may generate more than once.
        num_before = sum(row["step"] == step for row in self._rows) // group_size
        for index, (prompt, completion, score) in enumerate(triples):
            rewards = {name: score.rewards.get(name, np.nan) for name in weights}
            self._rows.append(
                {
                    "step": step,
                    "prompt_id": prompt.id,
                    "difficulty": prompt.difficulty,
                    "group": num_before + index // group_size,
                    **{f"reward/{name}": value for name, value in rewards.items()},
                    "total": _total(weights, score.rewards),
                    **{f"criterion/{name}": holds for name, holds in score.criteria.items()},
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
            with replacing(part_path(self.folder, step)) as part:
                pd.DataFrame(self._rows).to_parquet(part, index=False)
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
        write_progress(self.folder, self.progress)

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
        write_outcome(self.folder, outcome)
        return outcome

    def close(self) -> None:
        """Close the files without ending the trial."""
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
        for step, part in reward_parts(self.folder).items():
            if step > self.progress.step:
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
        """Remember the step and checkpoint that training continues from."""
        self.progress = Progress(step=step, stage=stage, checkpoint=self._relative(checkpoint))


def _total(weights: Mapping[str, float], rewards: Mapping[str, float]) -> float:
    known = [weights[name] * value for name, value in rewards.items() if name in weights]
    return sum(known) if known else float("nan")


def durable_step(folder: Path) -> int:
    """Return the last step that a resume would keep."""
    return read_progress(folder).step


def record_failure(folder: Path, reason: str) -> Outcome:
    """End a trial as FAILED from outside: its process died, or its records cannot be read."""
    try:
        progress = read_progress(folder)
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
    write_outcome(folder, outcome)
    return outcome


def begin_attempt(folder: Path, *, driver: str, why: str | None = None) -> list[Attempt]:
    """Add a line to the trial's ``attempts.jsonl`` and return all lines, the new one last.

    Keys: time (Unix, seconds), pid, node, driver (which run of the sweep), step (the last
    checkpoint's) and why: null for the first attempt, ``RESUMED`` where the sweep itself was
    started again, ``DIED`` or ``HUNG`` where the attempt before ended so, else what the caller
    says.
    """
    attempts = read_attempts(folder)
    attempt = Attempt(
        time=time.time(),
        pid=os.getpid(),
        node=socket.gethostname(),
        driver=driver,
        step=durable_step(folder),
        why=why or _why(folder, attempts, driver=driver),
    )
    with (folder / ATTEMPTS).open("ab+") as lines:
        lines.write(_end_of_line(lines) + attempt.model_dump_json().encode() + b"\n")
    return [*attempts, attempt]


def _end_of_line(lines: BinaryIO) -> bytes:
    """Return what ends a line that a full disk cut off; the next one must not be glued to it."""
    if not lines.seek(0, os.SEEK_END):
        return b""
    lines.seek(-1, os.SEEK_END)
    return b"" if lines.read(1) == b"\n" else b"\n"


def _why(folder: Path, attempts: list[Attempt], *, driver: str) -> str | None:
    if not attempts:
        return None
    last = attempts[-1]
    if last.driver != driver:
        return RESUMED
    return HUNG if has_hung(folder, since=last.time) else DIED
