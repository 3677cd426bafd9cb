"""Reads a run's ``metrics.jsonl``, of a trial that is still writing it too.

Only whole lines are read: the last one may be half written. An invalid line (say, cut off on a full
disk) is skipped.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["METRICS", "Logged", "MetricsTail", "parse_line", "read_lines", "read_metrics"]

METRICS = "metrics.jsonl"


class Logged(NamedTuple):
    """One line: the metrics that were logged at a step."""

    step: int
    time: float
    """When it was written, in seconds since the epoch; NaN if not recorded."""
    metrics: dict[str, float]


def read_metrics(run: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield step and metrics of each line of ``metrics.jsonl``; nothing without the file."""
    path = run / METRICS
    for line in read_lines(path) if path.exists() else ():
        logged = parse_line(line)
        if logged is not None:
            yield logged.step, logged.metrics


def read_lines(path: Path, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield the whole lines of a file between two offsets in bytes, ends of lines included."""
    with path.open("rb") as file:
        at = file.seek(start)
        for line in file:
            at += len(line)
            if not line.endswith(b"\n") or (end is not None and at > end):
                return
            yield line


def parse_line(line: bytes) -> Logged | None:
    """Read one line; None if it is invalid."""
    try:
        record = json.loads(line)
        time = float(record.get("time", math.nan))
        return Logged(int(record["step"]), time, dict(record["metrics"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class MetricsTail:
    """Follows a metrics file that grows, is cut back to a checkpoint, and grows again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = 0
        self._last_line = b""

    def read_new(self) -> tuple[bool, bytes]:
        """Return whether the file was cut back or replaced, and the whole lines that are new.

        Of a file that was, all lines are new.
        """
        try:
            with self.path.open("rb") as file:
                before = self._end - len(self._last_line)
                file.seek(before)
                was_replaced = file.read(len(self._last_line)) != self._last_line
                if was_replaced:  # A file may shrink and grow again past its old size.
                    self._end = file.seek(0)
                new = file.read()
        except FileNotFoundError:
            was_replaced, new, self._end = self._end > 0, b"", 0
        new = new[: new.rfind(b"\n") + 1]
        self._end += len(new)
        if new or was_replaced:
            self._last_line = new[new.rfind(b"\n", 0, -1) + 1 :]
        return was_replaced, new
