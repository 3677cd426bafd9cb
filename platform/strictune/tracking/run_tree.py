"""The runs of one sweep in one store: a parent, and a child for each of its folders.

Finds what is there by tags, creates what is missing, and carries out the plans of
``planning``. It trusts what it knows of the store; after a failed call the caller opens
the tree anew.
"""

import contextlib
import getpass
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from strictune.tracking import names
from strictune.tracking.identity import SweepIdentity, folder_tag
from strictune.tracking.planning import (
    KnownRun,
    LogFacts,
    LogInputs,
    LogMetrics,
    LogModel,
    LogPoints,
    RemoveTag,
    SetStatus,
    Upload,
    Write,
    plan_run,
)
from strictune.tracking.reader import SweepView
from strictune.tracking.records import RunKey, RunRecord
from strictune.tracking.spool import Point, is_copied, read_batches
from strictune.tracking.store import TrackingStore

__all__ = ["RunTree", "Written", "find_sweep_id"]

logger = logging.getLogger(__name__)

_GONE = "its folder is gone"


class Written(NamedTuple):
    """What an update brought into the store."""

    num_points: int = 0
    num_files: int = 0

    def plus(self, other: "Written") -> "Written":
        """Return the sum."""
        return Written(self.num_points + other.num_points, self.num_files + other.num_files)


class RunTree:
    """What the store holds of a sweep, and the way to bring it up to date."""

    def __init__(self, store: TrackingStore, view: SweepView, identity: SweepIdentity) -> None:
        self._store = store
        self._sweep_id = identity.sweep_id
        self._experiment_id = store.experiment(names.experiment_name(view.task))
        self._sweep_name = view.sweep.name
        self._runs = self._find_runs()
        if view.sweep.key not in self._runs:
            self._runs[view.sweep.key] = self._create(view.sweep)
        self._parent_id = self._runs[view.sweep.key].run_id

    @property
    def num_runs(self) -> int:
        """Runs of this sweep in the store, the parent included."""
        return len(self._runs)

    def update(self, record: RunRecord, *, is_final: bool) -> Written:
        """Write what the store lacks of one run.

        Raises:
            StorageError: The store refused, or is away.
            OSError: The folder cannot be read.
        """
        known = self._runs.get(record.key)
        if known is not None and not is_copied(record.metrics_path, known.mark):
            logger.info(
                "%s lost records that were copied; run=%s replaced", record.key, known.run_id
            )
            self._store.delete_run(known.run_id)
            del self._runs[record.key]
            known = None
        if known is None:
            self._runs[record.key] = known = self._create(record)
        tagged = replace(record, tags={**record.tags, **self._place(record)})
        written = Written()
        for write in plan_run(tagged, known, is_final=is_final):
            written = written.plus(self._apply(write, tagged))
        return written

    def end_others(self, present: Collection[RunKey]) -> None:
        """End runs whose folder was removed: nothing can bring them to an end any more."""
        for key, known in self._runs.items():
            if key not in present and known.status == "RUNNING":
                self._store.log(known.run_id, tags={names.REASON: _GONE})
                self._store.set_status(known.run_id, "KILLED", ended_ms=None)
                self._runs[key] = replace(known, status="KILLED")

    def _find_runs(self) -> dict[RunKey, KnownRun]:
        found: dict[RunKey, KnownRun] = {}
        tags = {names.SWEEP_ID: self._sweep_id}
        for run in self._store.find_runs(self._experiment_id, tags):
            key = _key(run)
            twin = found.get(key)
            if twin is None:
                found[key] = run
                continue
            # A call that created a run and was lost on its way back: the fuller one stays.
            found[key], spare = (run, twin) if run.mark > twin.mark else (twin, run)
            logger.info("%s has two runs; run=%s deleted", key, spare.run_id)
            self._store.delete_run(spare.run_id)
        return found

    def _create(self, record: RunRecord) -> KnownRun:
        tags = {**record.tags, **self._place(record), "mlflow.source.name": "strictune"}
        with contextlib.suppress(OSError, KeyError):  # A container may have no user database.
            tags["mlflow.user"] = getpass.getuser()
        return self._store.create_run(
            self._experiment_id, name=record.name, tags=tags, started_ms=record.started_ms
        )

    def _place(self, record: RunRecord) -> dict[str, str]:
        tags = {
            names.KIND: record.key.kind,
            names.SWEEP: self._sweep_name,
            names.SWEEP_ID: self._sweep_id,
            names.FOLDER: names.cut(folder_tag(record.path)),
        }
        if record.key.kind != "sweep":
            tags[names.PARENT_RUN] = self._parent_id
        return tags

    def _apply(self, write: Write, record: RunRecord) -> Written:
        key = record.key
        known = self._runs[key]
        match write:
            case LogFacts():
                self._log(key, params=write.params, tags=write.tags)
            case RemoveTag():
                self._store.remove_tag(known.run_id, write.key)
                kept = {name: value for name, value in known.tags.items() if name != write.key}
                self._runs[key] = replace(known, tags=kept)
            case LogInputs():
                self._store.log_inputs(known.run_id, write.datasets)
                self._log(key, tags={names.INPUTS: write.digest})
            case LogMetrics():
                return Written(num_points=self._copy_metrics(write, record))
            case LogPoints():
                model_id = known.tags.get(names.LOGGED_MODEL)
                tags = {names.COMPARED: write.digest}
                self._log(key, points=write.points, tags=tags, model_id=model_id)
                return Written(num_points=len(write.points))
            case SetStatus():
                self._store.set_status(known.run_id, write.status, ended_ms=write.ended_ms)
                self._runs[key] = replace(known, status=write.status)
            case Upload():
                for artifact in write.artifacts:
                    self._store.upload(known.run_id, artifact)
                self._log(key, tags={names.UPLOADED: write.digest})
                return Written(num_files=len(write.artifacts))
            case LogModel():
                model_id = self._store.log_model(
                    self._experiment_id,
                    known.run_id,
                    name=record.key.id,
                    files=write.files,
                    step=record.num_steps,
                )
                tags = {names.LOGGED_MODEL: model_id}
                self._log(key, points=write.points, tags=tags, model_id=model_id)
                return Written(num_files=len(write.files))
            case _:
                assert_never(write)
        return Written()

    def _copy_metrics(self, write: LogMetrics, record: RunRecord) -> int:
        num_points = 0
        batches = read_batches(record.metrics_path, start=write.start, end_bytes=write.end_bytes)
        for batch in batches:
            self._log(record.key, points=batch.points, tags={names.MIRRORED: str(batch.mark)})
            num_points += len(batch.points)
        return num_points

    def _log(
        self,
        key: RunKey,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str],
        model_id: str | None = None,
    ) -> None:
        known = self._runs[key]
        self._store.log(known.run_id, points=points, params=params, tags=tags, model_id=model_id)
        self._runs[key] = replace(
            known, tags={**known.tags, **tags}, params=known.params | (params or {}).keys()
        )


def find_sweep_id(store: TrackingStore, view: SweepView) -> str | None:
    """Recognise a sweep that lost its ``tracking.json``, by what was copied of it.

    The same name and folder are no proof: the folder may have been emptied and the sweep
    started anew. The proof is a run that holds the beginning of a trial's metrics, which
    carry the time of their writing.
    """
    experiment_id = store.experiment(names.experiment_name(view.task))
    paths = {record.key: record.metrics_path for record in view.runs}
    wanted = (view.sweep.name, folder_tag(view.sweep.path))
    for parent in reversed(store.find_runs(experiment_id, {names.KIND: "sweep"})):
        sweep_id = parent.tags.get(names.SWEEP_ID, "")
        if (parent.tags.get(names.SWEEP), parent.tags.get(names.FOLDER)) != wanted or not sweep_id:
            continue
        for run in store.find_runs(experiment_id, {names.SWEEP_ID: sweep_id}):
            path = paths.get(_key(run))
            if path is not None and run.mark.num_bytes and is_copied(path, run.mark):
                return sweep_id
    return None


def _key(run: KnownRun) -> RunKey:
    for kind, tag in names.ID_TAGS.items():
        if run.tags.get(names.KIND) == kind:
            return RunKey(kind, run.tags.get(tag, run.run_id))
    raise ValueError(f"run {run.run_id}: its kind is {run.tags.get(names.KIND)!r}")
