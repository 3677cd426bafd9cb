"""Copies what trials left in a sweep's folder into the tracking store.

The folders are the truth, the store is the copy. One pass reads the folders, asks what the store
holds, and writes the difference; a pass over a store that is up to date writes nothing. How far
each run has come stands in the run's own tags, and the folder keeps only the sweep's identity. So
a crash, an outage, another tracking URI, or a replay weeks later need no code of their own.

A run is brought up to date by three writes, each of which may be repeated without harm: what the
run is and how it stands, its metrics, its artifacts. Each step exists once in a run: metrics are
copied as far as the trial's checkpoints reach (to the end of the file once nothing can be rolled
back any more), and a SQL store that gets a batch twice keeps it once. Where a trial lost what had
been copied (it failed, the sweep was closed, and the trial resumed from an earlier checkpoint),
its run is deleted, which MLflow can undo, and written again.
"""

import contextlib
import getpass
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from strictune.addresses import sqlite_path
from strictune.errors import StorageError
from strictune.tracking import names
from strictune.tracking.identity import (
    SweepIdentity,
    experiment_tags,
    folder_tag,
    new_sweep_id,
    read_identity,
    write_identity,
)
from strictune.tracking.points import Point, is_copied, read_batches
from strictune.tracking.reader import RunKey, RunRecord, SweepReader, SweepView
from strictune.tracking.store import StoredRun, TrackingStore

__all__ = ["Mirror", "SyncReport", "replay"]

logger = logging.getLogger(__name__)

_GONE = "its folder is gone"
_REMOVABLE = (names.REASON, names.VERDICT, names.NOTE)
"""Tags that a resumed trial loses; the others are only added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What one pass did."""

    num_runs: int = 0
    """Runs of the sweep that the store now holds, the parent included."""
    num_points: int = 0
    """Metric values written in this pass."""
    num_files: int = 0
    """Artifacts uploaded in this pass."""
    problems: tuple[str, ...] = ()
    """What was refused or could not be read; the rest went through."""

    @property
    def is_complete(self) -> bool:
        """Whether the store now says what the folders say."""
        return not self.problems


class Mirror:
    """The one writer of a sweep's runs; a second one for the same folder is refused.

    Used as a context manager it unlocks the folder at the end:

        with Mirror(sweep_dir, tracking_uri) as mirror:
            mirror.sync()    # as often as wanted
            mirror.close()   # every run ends
    """

    def __init__(self, sweep_dir: Path, tracking_uri: str) -> None:
        self.sweep_dir = sweep_dir.absolute()
        self.tracking_uri = tracking_uri
        self._reader = SweepReader(self.sweep_dir)
        self._lock = FileLock(self.sweep_dir / "tracking.lock", thread_local=False)
        self._store: TrackingStore | None = None
        self._runs: _SweepRuns | None = None
        self._settled: dict[RunKey, RunRecord] = {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def open(self) -> None:
        """Lock the folder, and create a SQLite store if it does not exist.

        Other stores are contacted by ``sync`` first, which may fail and be tried again.

        Raises:
            StorageError: Another process holds the lock, or folder or file cannot be written.
        """
        if not self._lock.is_locked:
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise StorageError(
                    f"{self.sweep_dir}: another process copies this sweep into a tracking store. "
                    "Wait until it ends."
                ) from error
            except OSError as error:
                raise StorageError(f"{self.sweep_dir}: cannot be written to ({error}).") from error
        if self._store is None and sqlite_path(self.tracking_uri):
            try:
                self._store = self._open_store()
            except StorageError:
                self._lock.release()
                raise

    def sync(self) -> SyncReport:
        """Bring the store up to date with a sweep that is running.

        Raises:
            StorageError: The store does not answer, the folder holds no sweep, or it is locked.
        """
        return self._pass(is_final=False, status="RUNNING")

    def close(self, status: names.RunStatus | None = None) -> SyncReport:
        """Bring the store up to date with a sweep that has ended or was killed, and end its runs.

        Args:
            status: How the sweep ended. By default KILLED if a planned trial has no outcome,
                FAILED if every trial failed, FINISHED otherwise.

        Raises:
            StorageError: As in ``sync``; calling again continues.
        """
        return self._pass(is_final=True, status=status)

    def _pass(self, *, is_final: bool, status: names.RunStatus | None) -> SyncReport:
        self.open()
        view = self._reader.read(is_final=is_final)
        problems = list(view.problems)
        # After a failure the content of the store is unknown: the next pass asks again.
        runs, self._runs = self._runs or self._find_runs(view), None
        runs.written = SyncReport()
        for record in view.runs:
            self._update(runs, record, problems)
        if is_final:
            runs.end_others(view)
        self._update(runs, replace(view.sweep, status=status or view.sweep.status), problems)
        self._runs = None if problems else runs
        return replace(runs.written, num_runs=len(runs.known), problems=tuple(problems))

    def _update(self, runs: "_SweepRuns", record: RunRecord, problems: list[str]) -> None:
        if self._settled.get(record.key) is record:
            return
        try:
            runs.update(record)
        except OSError as error:
            problems.append(f"{record.key}: {error}")
        except StorageError as error:
            if self._store is None or not self._store.is_up():
                raise
            # The store answers, so it refuses this run alone; the others go on.
            problems.append(f"{record.key}: {error}")
        else:
            self._settled[record.key] = record

    def _find_runs(self, view: SweepView) -> "_SweepRuns":
        self._settled.clear()
        store = self._store = self._store or self._open_store()
        experiment_id = store.experiment(names.experiment_name(view.task))
        identity = read_identity(self.sweep_dir)
        sweep_id = identity.sweep_id if identity else new_sweep_id(view.sweep.name)
        wanted = SweepIdentity(sweep_id, self.tracking_uri, experiment_id)
        if identity != wanted:
            write_identity(self.sweep_dir, wanted)
        store.tag_experiment(experiment_id, experiment_tags(sweep_id, view.primary_criterion))
        return _SweepRuns(store, experiment_id, view, sweep_id)

    def _open_store(self) -> TrackingStore:
        return TrackingStore.open(self.tracking_uri, out_dir=self.sweep_dir.parent)


def replay(sweep_dir: Path, tracking_uri: str) -> SyncReport:
    """Copy a sweep that has ended or was killed: what a store missed, or all of it to another one.

    Raises:
        StorageError: The store does not answer, the folder holds no sweep, or it is locked.
    """
    with Mirror(sweep_dir, tracking_uri) as mirror:
        return mirror.close()


class _SweepRuns:
    """The runs of one sweep in one store: a parent, and a child for each folder that has begun.

    It caches the state of the store; after a failed call it must be created again.
    """

    def __init__(
        self, store: TrackingStore, experiment_id: str, view: SweepView, sweep_id: str
    ) -> None:
        self._store = store
        self._experiment_id = experiment_id
        self._shared_tags = {names.SWEEP: view.sweep.name, names.SWEEP_ID: sweep_id}
        self.written = SyncReport()
        self.known: dict[RunKey, StoredRun] = {}
        for run in store.find_runs(experiment_id, {names.SWEEP_ID: sweep_id}):
            key = _key(run)
            if key in self.known:
                # The answer of a call that created a run was lost: the run with more metrics stays.
                spare, run = sorted((run, self.known[key]), key=lambda found: found.mark)
                logger.info("%s has two runs; run=%s deleted", key, spare.run_id)
                store.delete_run(spare.run_id)
            self.known[key] = run
        self._parent_id: str | None = None
        self._parent_id = self._find_or_create(view.sweep).run_id

    def update(self, record: RunRecord) -> None:
        """Write what the store lacks of one run.

        The status comes before metrics and artifacts: a run must end even where these are refused.

        Raises:
            StorageError: The store refused, or does not answer.
            OSError: The folder cannot be read.
        """
        run = self._find_or_create(record)
        self._write_run(run, record)
        self._write_metrics(run, record)
        self._write_artifacts(run, record)

    def end_others(self, view: SweepView) -> None:
        """End the runs whose folders were removed."""
        present = {view.sweep.key, *(record.key for record in view.runs)}
        for key, run in self.known.items():
            if key not in present and run.status == "RUNNING":
                self._log(run, tags={names.REASON: _GONE})
                self._store.set_status(run, "KILLED", ended_ms=None)

    def _find_or_create(self, record: RunRecord) -> StoredRun:
        run = self.known.get(record.key)
        if run is not None and not is_copied(record.metrics_path, run.mark):
            logger.info("%s lost records that were copied; run=%s replaced", record.key, run.run_id)
            self._store.delete_run(run.run_id)
            run = None
        if run is None:
            tags = {**record.tags, **self._place(record), "mlflow.source.name": "strictune"}
            with contextlib.suppress(OSError, KeyError):  # A container may have no user database.
                tags["mlflow.user"] = getpass.getuser()
            run = self.known[record.key] = self._store.create_run(
                self._experiment_id, name=record.name, tags=tags, started_ms=record.started_ms
            )
        return run

    def _place(self, record: RunRecord) -> dict[str, str]:
        tags = {names.KIND: record.key.kind, names.FOLDER: names.cut(folder_tag(record.path))}
        if record.key.kind != "sweep":
            tags[names.PARENT_RUN] = str(self._parent_id)
        return tags | self._shared_tags

    def _write_run(self, run: StoredRun, record: RunRecord) -> None:
        tags = {**record.tags, **self._place(record)}
        for key in _REMOVABLE:
            if key in run.tags and key not in tags:
                self._store.remove_tag(run, key)
        tags = {key: value for key, value in tags.items() if run.tags.get(key) != value}
        params = {key: value for key, value in record.params.items() if key not in run.params}
        if record.datasets and not run.has_inputs:
            self._store.log_inputs(run, record.datasets)
        if tags or params:
            self._log(run, params=params, tags=tags)
        if run.status != record.status:
            self._store.set_status(run, record.status, ended_ms=record.ended_ms)

    def _write_metrics(self, run: StoredRun, record: RunRecord) -> None:
        if record.end_bytes > run.mark.num_bytes:
            path, end = record.metrics_path, record.end_bytes
            for batch in read_batches(path, start=run.mark, end_bytes=end):
                self._log(run, points=batch.points, tags={names.MIRRORED: str(batch.mark)})
        self._write_findings(run, record)

    def _write_findings(self, run: StoredRun, record: RunRecord) -> None:
        """Log the comparison; of a logged model it and the final metrics, to run and model.

        Their times are those of the run's own points: the store keeps equal points once.
        """
        model_id = run.tags.get(names.LOGGED_MODEL)
        found = (record.comparison, record.final if model_id else None)
        points = tuple(
            Point(key, value, record.num_steps, findings.time_ms)
            for findings in found
            if findings is not None
            for key, value in findings.metrics.items()
        )
        digest = _digest([points, model_id])
        if points and run.tags.get(names.COMPARED) != digest:
            self._log(run, points=points, tags={names.COMPARED: digest}, model_id=model_id)

    def _write_artifacts(self, run: StoredRun, record: RunRecord) -> None:
        files = record.artifacts
        digest = _digest([(file.name, file.num_bytes, file.mtime_ns) for file in files])
        if files and run.tags.get(names.UPLOADED) != digest:
            for file in files:
                self._store.upload(run, file)
            self._log(run, tags={names.UPLOADED: digest})
            self._count(num_files=len(files))
        adapter = record.final_adapter
        if adapter and names.LOGGED_MODEL not in run.tags:
            model_id = self._store.log_model(
                self._experiment_id, run, name=record.key.id, files=adapter, step=record.num_steps
            )
            self._log(run, tags={names.LOGGED_MODEL: model_id})
            self._count(num_files=len(adapter))
            self._write_findings(run, record)

    def _log(
        self,
        run: StoredRun,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str],
        model_id: str | None = None,
    ) -> None:
        self._store.log(run, points=points, params=params or {}, tags=tags, model_id=model_id)
        self._count(num_points=len(points))

    def _count(self, *, num_points: int = 0, num_files: int = 0) -> None:
        done = self.written
        self.written = SyncReport(
            num_points=done.num_points + num_points, num_files=done.num_files + num_files
        )


def _key(run: StoredRun) -> RunKey:
    for kind, tag in names.ID_TAGS.items():
        if run.tags.get(names.KIND) == kind:
            return RunKey(kind, run.tags.get(tag, run.run_id))
    raise ValueError(f"run {run.run_id}: its kind is {run.tags.get(names.KIND)!r}")


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
