"""What must be written so that the store says what the folders say.

Pure: a record of a folder and what is known of its run go in, writes come out. Every
write is named by its effect, so that applying it twice does no harm, and the plan of a
run that is up to date is empty. How far a run has come is read from its own tags, never
from a file beside it: a crash between a write and a note about it cannot make them
disagree.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from strictune.tracking import names
from strictune.tracking.records import Artifact, DatasetUse, Findings, RunRecord, RunStatus
from strictune.tracking.spool import Mark, Point

__all__ = [
    "NO_OUTCOME",
    "KnownRun",
    "LogFacts",
    "LogInputs",
    "LogMetrics",
    "LogModel",
    "LogPoints",
    "RemoveTag",
    "SetStatus",
    "Upload",
    "Write",
    "plan_run",
]

NO_OUTCOME = "its process ended before it could write an outcome"
"""The recorded reason of a run that a kill left open."""

_MAY_BE_TAKEN_BACK = (names.REASON, names.VERDICT, names.NOTE)
"""A resumed trial has not failed; the other tags of a run only ever grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """What the store is known to hold of one run."""

    run_id: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: frozenset[str] = frozenset()

    @property
    def mark(self) -> Mark:
        """How much of the metrics file the store holds."""
        return Mark.parse(self.tags.get(names.MIRRORED))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """Params that are missing and tags that differ."""

    tags: Mapping[str, str]
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTag:
    """A tag that no longer holds."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMetrics:
    """The metrics file from a mark on."""

    start: Mark
    end_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPoints:
    """Metrics that were found out after the trial."""

    points: tuple[Point, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStatus:
    """A run that ends, or goes on."""

    status: RunStatus
    ended_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """All artifacts of a run; those that are there already are written over."""

    artifacts: tuple[Artifact, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInputs:
    """The data sets of a run."""

    datasets: tuple[DatasetUse, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogModel:
    """The adapter that a trial ended with, and what was measured of it."""

    files: tuple[Artifact, ...]
    points: tuple[Point, ...]


Write = LogFacts | RemoveTag | LogInputs | LogMetrics | LogPoints | SetStatus | Upload | LogModel


def plan_run(record: RunRecord, known: KnownRun, *, is_final: bool) -> list[Write]:
    """List the writes that bring one run up to date, in the order they must happen.

    The status comes before the artifacts: a run must end even where its artifacts are
    refused.

    Args:
        record: What the folder says.
        known: What the store holds.
        is_final: Nobody writes to the folder any more: a run without an outcome was killed,
            and what a failed one wrote after its last checkpoint will not be rolled back.
    """
    end_bytes = record.durable_bytes
    if is_final and record.status == "RUNNING":
        record = replace(record, status="KILLED", tags={names.REASON: NO_OUTCOME, **record.tags})
    elif is_final:
        end_bytes = record.metrics_bytes
    return [
        *_facts(record, known),
        *_inputs(record, known),
        *_metrics(known, end_bytes),
        *_comparison(record, known),
        *_status(record, known),
        *_upload(record, known),
        *_model(record, known),
    ]


def _facts(record: RunRecord, known: KnownRun) -> list[Write]:
    writes: list[Write] = [
        RemoveTag(key=key)
        for key in _MAY_BE_TAKEN_BACK
        if key in known.tags and key not in record.tags
    ]
    tags = {key: value for key, value in record.tags.items() if known.tags.get(key) != value}
    params = {key: value for key, value in record.params.items() if key not in known.params}
    if tags or params:
        writes.append(LogFacts(tags=tags, params=params))
    return writes


def _inputs(record: RunRecord, known: KnownRun) -> list[Write]:
    digest = _digest(record.datasets)
    if not record.datasets or known.tags.get(names.INPUTS) == digest:
        return []
    return [LogInputs(datasets=record.datasets, digest=digest)]


def _metrics(known: KnownRun, end_bytes: int) -> list[Write]:
    if end_bytes <= known.mark.num_bytes:
        return []
    return [LogMetrics(start=known.mark, end_bytes=end_bytes)]


def _comparison(record: RunRecord, known: KnownRun) -> list[Write]:
    if record.comparison is None:
        return []
    found = record.comparison
    digest = _digest(sorted(found.metrics.items()))
    if known.tags.get(names.COMPARED) == digest:
        return []
    return [LogPoints(points=_points(record, found), digest=digest)]


def _points(record: RunRecord, found: Findings) -> tuple[Point, ...]:
    return tuple(
        Point(key, value, record.num_steps, found.time_ms) for key, value in found.metrics.items()
    )


def _status(record: RunRecord, known: KnownRun) -> list[Write]:
    if known.status == record.status:
        return []
    return [SetStatus(status=record.status, ended_ms=record.ended_ms)]


def _upload(record: RunRecord, known: KnownRun) -> list[Write]:
    if not record.artifacts:
        return []
    digest = _digest([(file.name, file.num_bytes, file.mtime_ns) for file in record.artifacts])
    if known.tags.get(names.UPLOADED) == digest:
        return []
    return [Upload(artifacts=record.artifacts, digest=digest)]


def _model(record: RunRecord, known: KnownRun) -> list[Write]:
    if not record.final_adapter or names.LOGGED_MODEL in known.tags:
        return []
    # The times are those of the run's own points: the store keeps equal points once.
    found = [findings for findings in (record.final, record.comparison) if findings is not None]
    points = tuple(point for findings in found for point in _points(record, findings))
    return [LogModel(files=record.final_adapter, points=points)]


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
