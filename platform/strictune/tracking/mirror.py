"""Copies what trials left in a sweep's folder into the tracking store.

The folders are the truth, the store is the copy. One pass reads the folders, asks what
the store holds, and writes the difference; a pass over a store that is up to date writes
nothing. How far each run has come stands in the run's own tags, and the folder keeps
only the sweep's identity. So a crash, an outage, another tracking URI, or a replay weeks
later need no code of their own.

Each step exists once in a run: metrics are copied as far as the trial's checkpoints
reach (to the end of the file once nothing can be rolled back any more), and a SQL store
that gets a batch twice keeps it once. Where a trial lost what had been copied (it failed,
the sweep was closed, and the trial resumed from an earlier checkpoint), its run is
deleted, which MLflow can undo, and written anew.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from strictune.errors import StorageError
from strictune.tracking.address import sqlite_path
from strictune.tracking.identity import (
    SweepIdentity,
    new_sweep_id,
    read_identity,
    write_identity,
)
from strictune.tracking.reader import SweepReader, SweepView
from strictune.tracking.records import RunKey, RunRecord, RunStatus
from strictune.tracking.run_tree import RunTree, Written, find_sweep_id
from strictune.tracking.store import TrackingStore

__all__ = ["Mirror", "SyncReport", "replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What one pass did."""

    num_runs: int
    """Runs of the sweep that the store now holds, the parent included."""
    num_points: int
    """Metric values written in this pass."""
    num_files: int
    """Artifacts uploaded in this pass."""
    problems: tuple[str, ...]
    """What was refused or could not be read; the rest went through."""

    @property
    def is_complete(self) -> bool:
        """Whether the store now says what the folders say."""
        return not self.problems


class Mirror:
    """The one writer of a sweep's runs; a second one for the same folder is refused.

    Used as a context manager it gives the folder free at the end:

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
        self._tree: RunTree | None = None
        self._settled: dict[RunKey, RunRecord] = {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def open(self) -> None:
        """Take the folder, and create the SQLite store that is not there yet.

        Other stores are first asked by ``sync``, where being away is no reason to give up.

        Raises:
            StorageError: Another process has the folder, or folder or file cannot be written.
        """
        self._acquire()
        if self._store is None and sqlite_path(self.tracking_uri):
            try:
                self._store = self._open_store()
            except StorageError:
                self._lock.release()
                raise

    def sync(self) -> SyncReport:
        """Bring the store up to date with a sweep that is running.

        Raises:
            StorageError: The store is away, or the folder is no sweep's or in other hands.
        """
        return self._pass(is_final=False, status="RUNNING")

    def close(self, status: RunStatus | None = None) -> SyncReport:
        """Bring the store up to date with a sweep that nobody runs any more, and end its runs.

        Args:
            status: How the sweep ended. By default KILLED if a planned trial has no outcome,
                FAILED if every trial failed, FINISHED otherwise.

        Raises:
            StorageError: As in ``sync``; calling again continues.
        """
        return self._pass(is_final=True, status=status)

    def _pass(self, *, is_final: bool, status: RunStatus | None) -> SyncReport:
        self.open()
        view = self._reader.read(is_final=is_final)
        problems = list(view.problems)
        try:
            tree = self._tree or self._open_tree(view)
            written = Written()
            for record in view.runs:
                written = written.plus(self._update(tree, record, problems, is_final=is_final))
            if is_final:
                tree.end_others({view.sweep.key, *(record.key for record in view.runs)})
            sweep = replace(view.sweep, status=status or view.sweep.status)
            written = written.plus(self._update(tree, sweep, problems, is_final=is_final))
        except BaseException:
            self._tree = None
            raise
        # After a refusal it is open what the store holds: the next pass asks again.
        self._tree = None if problems else tree
        return SyncReport(
            num_runs=tree.num_runs,
            num_points=written.num_points,
            num_files=written.num_files,
            problems=tuple(problems),
        )

    def _update(
        self, tree: RunTree, record: RunRecord, problems: list[str], *, is_final: bool
    ) -> Written:
        if self._settled.get(record.key) is record:
            return Written()
        try:
            written = tree.update(record, is_final=is_final)
        except OSError as error:
            problems.append(f"{record.key}: {error}")
            return Written()
        except StorageError as error:
            if self._store is None or not self._store.is_up():
                raise
            # The store answers, so it is this run that it does not take; the others go on.
            problems.append(f"{record.key}: {error}")
            return Written()
        self._settled[record.key] = record
        return written

    def _open_tree(self, view: SweepView) -> RunTree:
        self._settled.clear()
        store = self._store = self._store or self._open_store()
        identity = read_identity(self.sweep_dir)
        sweep_id = identity.sweep_id if identity else find_sweep_id(store, view)
        wanted = SweepIdentity(sweep_id or new_sweep_id(view.sweep.name), self.tracking_uri)
        if identity != wanted:
            write_identity(self.sweep_dir, wanted)
        return RunTree(store, view, wanted)

    def _open_store(self) -> TrackingStore:
        return TrackingStore.open(self.tracking_uri, out_dir=self.sweep_dir.parent)

    def _acquire(self) -> None:
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                f"{self.sweep_dir}: another process copies this sweep into a tracking store. "
                "Wait until it ends."
            ) from error
        except OSError as error:
            raise StorageError(f"{self.sweep_dir}: cannot be written to ({error}).") from error


def replay(sweep_dir: Path, tracking_uri: str) -> SyncReport:
    """Copy a sweep that nobody runs any more: what a store missed, or all of it elsewhere.

    Raises:
        StorageError: The store is away, or the folder is no sweep's or in other hands.
    """
    with Mirror(sweep_dir, tracking_uri) as mirror:
        return mirror.close()
