"""Follows one trial's ``metrics.jsonl`` while it grows, is cut back, and grows again.

A look reads what is new since the last one. The first look reads the end of the file, which
holds all that changes; evaluations further up are found by ``search_backlog``, as long as its
caller cares to wait. So a thousand long files show at once, and stay cheap.
"""

import json
import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["WINDOW", "HeldOut", "Logged", "MetricsFile"]

WINDOW = 10
"""Logged steps over which speeds are taken."""
TAIL_BYTES = 8192
"""What a first look reads of a long file: some four lines."""
CHUNK_BYTES = 1 << 20
EVALUATION_MARKS = (b'"eval/', b'"final/')
"""What tells the line of an evaluation from that of a training step."""


class HeldOut(NamedTuple):
    """One evaluation on the validation split."""

    step: int
    frac: float
    """Share of completions that reach the task's primary rung."""
    seconds: float | None
    """How long the evaluation took."""


class Logged(NamedTuple):
    """One line that tells of a training step."""

    step: int
    time: float
    """When it was written, in seconds since the epoch."""
    metrics: Mapping[str, float]


class MetricsFile:
    """What one metrics file says of training and held-out evaluation."""

    def __init__(self, path: Path, *, primary_rung: str) -> None:
        self.path = path
        self.steps: deque[Logged] = deque(maxlen=WINDOW + 1)
        """The last logged training steps, oldest first."""
        self.num_evaluations = 0
        """Since the last training step, the one on the final split included."""
        self.last_step = 0
        self.last_time: float | None = None
        """Of the last line, in seconds since the epoch."""
        self._rate_key = f"eval/{primary_rung}/pass_at_1"
        self._forget()

    @property
    def held_out(self) -> list[HeldOut]:
        """The evaluations found so far, oldest first."""
        return self._early + self._late

    def look(self) -> None:
        """Read what is new; starts over where the file was cut back or replaced."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            if self._end:
                self._forget()
            return
        if size == self._end:
            return
        with self.path.open("rb") as file:
            if size < self._end or not self._is_continued(file):
                self._forget()
            self._read_new(file, size)

    def search_backlog(self, *, deadline: float = math.inf) -> bool:
        """Look for evaluations above what the first look read.

        Args:
            deadline: When to stop, as ``time.monotonic()`` counts.

        Returns:
            Whether the whole file has been read.
        """
        if self._searched >= self._tail_start:
            return True
        needle = json.dumps(self._rate_key).encode()
        with self.path.open("rb") as file:
            while self._searched < self._tail_start and time.monotonic() < deadline:
                file.seek(self._searched)
                chunk = file.read(min(CHUNK_BYTES, self._tail_start - self._searched))
                lines = chunk[: chunk.rfind(b"\n") + 1] or chunk + file.readline()
                if not lines:  # Cut back since the last look, which is the next one's affair.
                    break
                self._early += _evaluations(lines, needle, self._rate_key)
                self._searched += len(lines)
        return self._searched >= self._tail_start

    def _forget(self) -> None:
        self.steps.clear()
        self.num_evaluations = 0
        self._early: list[HeldOut] = []
        self._late: list[HeldOut] = []
        self.last_step = 0
        self.last_time = None
        self._end = 0
        self._tail_start = 0
        self._searched = 0
        self._last_line = b""

    def _is_continued(self, file: BinaryIO) -> bool:
        """Whether the line read last is still where it was: a file may shrink and grow again."""
        file.seek(self._end - len(self._last_line))
        return file.read(len(self._last_line)) == self._last_line

    def _read_new(self, file: BinaryIO, size: int) -> None:
        if not self._end and size > TAIL_BYTES:
            file.seek(size - TAIL_BYTES)
            file.readline()
            self._end = self._tail_start = file.tell()
        file.seek(self._end)
        for line in file:
            if not line.endswith(b"\n"):
                break
            self._end += len(line)
            self._last_line = line
            self._take(line)

    def _take(self, line: bytes) -> None:
        record = _parse(line)
        if record is None:
            return
        self.last_step, self.last_time = record.step, record.time
        evaluation = _evaluation(record, self._rate_key)
        if evaluation is not None:
            self._late.append(evaluation)
        if any(mark in line for mark in EVALUATION_MARKS):
            self.num_evaluations += 1
        else:
            self.steps.append(record)
            self.num_evaluations = 0


def _parse(line: bytes) -> Logged | None:
    """Read one line; None where it is no record of metrics."""
    try:
        record = json.loads(line)
        return Logged(int(record["step"]), float(record["time"]), dict(record["metrics"]))
    except (ValueError, KeyError, TypeError):
        return None


def _evaluation(record: Logged, rate_key: str) -> HeldOut | None:
    frac = record.metrics.get(rate_key)
    seconds = record.metrics.get("time/eval_s")
    return None if frac is None else HeldOut(record.step, frac, seconds)


def _evaluations(lines: bytes, needle: bytes, rate_key: str) -> list[HeldOut]:
    """Parse only the lines that hold ``needle``."""
    found: list[HeldOut] = []
    at = lines.find(needle)
    while at >= 0:
        start, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
        record = _parse(lines[start : end if end >= 0 else None])
        evaluation = record and _evaluation(record, rate_key)
        if evaluation:
            found.append(evaluation)
        at = lines.find(needle, end) if end >= 0 else -1
    return found
