"""A run's ``metrics.jsonl`` as batches for the tracking store.

A ``Mark`` says how far a file has been copied. It travels with each batch into the store, so that
the store itself knows where to go on, and it carries a digest of what lies before it, so that a
file which was rolled back and written again is noticed.
"""

import hashlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from strictune.records import parse_line, read_lines
from strictune.tracking.names import metric_key

__all__ = ["MAX_BATCH_POINTS", "Batch", "Mark", "Point", "is_copied", "read_batches"]

logger = logging.getLogger(__name__)

MAX_BATCH_POINTS = 1000
"""What MLflow takes in one call."""

_DIGESTED_BYTES = 512
"""A line carries its time of writing, so the last bytes before a mark tell files apart."""


class Mark(NamedTuple):
    """How much of a metrics file is in the store."""

    num_bytes: int
    digest: str
    """Of the last bytes before the mark; empty at the start of a file."""

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read a mark back from its tag; without a valid one it is the start of the file."""
        num_bytes, _, digest = (text or "").partition(" ")
        return cls(int(num_bytes), digest) if num_bytes.isdecimal() else cls(0, "")

    def __str__(self) -> str:
        return f"{self.num_bytes} {self.digest}"


class Point(NamedTuple):
    """One value of one metric."""

    key: str
    value: float
    step: int
    time_ms: int


class Batch(NamedTuple):
    """What one call to the store carries."""

    points: tuple[Point, ...]
    mark: Mark
    """What the store holds once the batch is in."""


def is_copied(path: Path, mark: Mark) -> bool:
    """Whether the file still begins with what the mark says was copied."""
    if not mark.num_bytes:
        return True
    try:
        return _mark_at(path, mark.num_bytes) == mark
    except FileNotFoundError:
        return False


def read_batches(path: Path, *, start: Mark, end_bytes: int) -> Iterator[Batch]:
    """Yield the points between a mark and ``end_bytes``, whole lines only.

    Values that are not finite are left out (absent means "not measured"), and so are
    lines that cannot be read. Only the last batch of a line moves the mark past it, so a
    line that was cut between two batches is sent again, which the store takes as the same
    points.
    """
    pending: list[Point] = []
    offset = start.num_bytes
    for line in read_lines(path, start=offset, end=end_bytes):
        points = _points(line, source=f"{path}:{offset}")
        while len(pending) + len(points) > MAX_BATCH_POINTS:
            if not pending:
                pending, points = points[:MAX_BATCH_POINTS], points[MAX_BATCH_POINTS:]
            yield Batch(tuple(pending), _mark_at(path, offset))
            pending = []
        pending += points
        offset += len(line)
    if offset > start.num_bytes:
        yield Batch(tuple(pending), _mark_at(path, offset))


def _mark_at(path: Path, num_bytes: int) -> Mark:
    start = max(0, num_bytes - _DIGESTED_BYTES)
    with path.open("rb") as file:
        file.seek(start)
        before = file.read(num_bytes - start)
    digest = hashlib.sha256(before).hexdigest()[:12] if start + len(before) == num_bytes else ""
    return Mark(num_bytes, digest)


def _points(line: bytes, *, source: str) -> list[Point]:
    logged = parse_line(line)
    if logged is None or not math.isfinite(logged.time):
        logger.warning("metrics=%s skipped a line that is not a record of metrics", source)
        return []
    time_ms = int(logged.time * 1000)
    return [
        Point(metric_key(key), float(value), logged.step, time_ms)
        for key, value in logged.metrics.items()
        if math.isfinite(value)
    ]
