"""The tracking store: the only place that calls MLflow to write.

It turns writes into client calls and every failure into ``StorageError``; ``mirror`` decides what
to write. MLflow is imported when a store is opened.
"""

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import urlsplit

from filelock import FileLock

from strictune.addresses import hide_passwords, sqlite_path, without_password
from strictune.errors import StorageError
from strictune.tracking.names import MIRRORED, RunStatus
from strictune.tracking.points import Mark, Point
from strictune.tracking.reader import Artifact, DatasetUse

__all__ = ["StoredRun", "TrackingStore"]

_SERVERS = ("http", "https", "databricks")
_PARAMS_PER_CALL = 100
_REFUSED_IN_MODEL_NAMES = re.compile(r"[/:.%\"']")
_RUNS_PER_CALL = 500

_DEFAULTS = {
    # With these a dead server blocks a call for 13 s, without them for 247 s.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(slots=True, kw_only=True)
class StoredRun:
    """What the store is known to hold of one run; writes to it are added here."""

    run_id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    has_inputs: bool

    @property
    def mark(self) -> Mark:
        """How much of the metrics file the store holds."""
        return Mark.parse(self.tags.get(MIRRORED))


class TrackingStore:
    """One MLflow tracking store; every method raises ``StorageError`` when it fails."""

    def __init__(self, client: Any, *, uri: str, artifact_root: Path) -> None:
        self._client = client
        self._shown_uri = without_password(uri)
        self._artifact_root = None if urlsplit(uri).scheme in _SERVERS else artifact_root

    @classmethod
    def open(cls, uri: str, *, out_dir: Path) -> Self:
        """Connect to a store; a SQLite store that is not there yet is created.

        Two processes that create one store at once break its tables, so creation happens
        under a lock beside the file. A server decides itself where artifacts go; without a
        server they go into ``mlartifacts`` beside the SQLite file, or in ``out_dir``.

        Raises:
            StorageError: The store cannot be created or is of another version of MLflow.
        """
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        with _translated(f"opening {without_password(uri)}"):
            from mlflow.tracking import MlflowClient

            path = sqlite_path(uri)
            if path is None:
                return cls(MlflowClient(tracking_uri=uri), uri=uri, artifact_root=out_dir)
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f"{path.name}.lock")), _quietly():
                client = MlflowClient(tracking_uri=uri)
                client.search_experiments(max_results=1)
            return cls(client, uri=uri, artifact_root=path.parent)

    def is_up(self) -> bool:
        """Whether the store answers."""
        try:
            self.call("search_experiments", max_results=1)
        except StorageError:
            return False
        return True

    def experiment(self, name: str) -> str:
        """Return the id of the experiment, created if it is not there."""
        experiment = self.call("get_experiment_by_name", name)
        if experiment is None:
            location = self._artifact_root and self._artifact_root.absolute() / "mlartifacts" / name
            with contextlib.suppress(StorageError):  # Another sweep may have been faster.
                self.call(
                    "create_experiment", name, artifact_location=location and location.as_uri()
                )
            experiment = self.call("get_experiment_by_name", name)
        if experiment is None or experiment.lifecycle_stage != "active":
            state = "cannot be created" if experiment is None else "was deleted"
            raise StorageError(
                f"{self._shown_uri}: the experiment {name!r} {state}. Restore it on the MLflow "
                "page or with `mlflow experiments restore`, or use another tracking URI."
            )
        return str(experiment.experiment_id)

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set the tags of an experiment that it lacks or that differ."""
        found = self.call("get_experiment", experiment_id).tags
        for key, value in tags.items():
            if found.get(key) != value:
                self.call("set_experiment_tag", experiment_id, key, value)

    def find_runs(self, experiment_id: str, tags: Mapping[str, str]) -> list[StoredRun]:
        """Return the runs that carry all these tags, oldest first; deleted ones are left out."""
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found: list[StoredRun] = []
        token = None
        while True:
            page = self.call(
                "search_runs",
                [experiment_id],
                filter_string=wanted,
                max_results=_RUNS_PER_CALL,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += [_stored(run) for run in page]
            token = page.token
            if not token:
                return found

    def create_run(
        self, experiment_id: str, *, name: str, tags: Mapping[str, str], started_ms: int
    ) -> StoredRun:
        """Create a run that is RUNNING."""
        return _stored(
            self.call(
                "create_run", experiment_id, run_name=name, tags=dict(tags), start_time=started_ms
            )
        )

    def delete_run(self, run_id: str) -> None:
        """Delete a run; MLflow can restore it."""
        self.call("delete_run", run_id)

    def log(
        self,
        run: StoredRun,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        model_id: str | None = None,
    ) -> None:
        """Log at most 1,000 points, and tags and params, in as few calls as MLflow allows.

        The tags go last: what they say of the rest holds once they are there. With a
        ``model_id`` the points are the logged model's as well.
        """
        from mlflow.entities import Metric, Param, RunTag

        pairs, tags = list((params or {}).items()), tags or {}
        for start in range(0, len(pairs), _PARAMS_PER_CALL):
            some = [Param(*pair) for pair in pairs[start : start + _PARAMS_PER_CALL]]
            self.call("log_batch", run.run_id, params=some, synchronous=True)
        metrics = [
            Metric(point.key, point.value, point.time_ms, point.step, model_id=model_id)
            for point in points
        ]
        if metrics or tags:
            run_tags = [RunTag(*pair) for pair in tags.items()]
            self.call("log_batch", run.run_id, metrics=metrics, tags=run_tags, synchronous=True)
        run.params.update(params or {})
        run.tags.update(tags)

    def remove_tag(self, run: StoredRun, key: str) -> None:
        """Remove a tag that is there."""
        self.call("delete_tag", run.run_id, key)
        del run.tags[key]

    def set_status(self, run: StoredRun, status: RunStatus, *, ended_ms: int | None) -> None:
        """End a run (now, without a time), or open it again; MLflow keeps its former end."""
        if status == "RUNNING":
            self.call("update_run", run.run_id, status=status)
        else:
            self.call("set_terminated", run.run_id, status=status, end_time=ended_ms)
        run.status = status

    def upload(self, run: StoredRun, artifact: Artifact) -> None:
        """Upload one file, over one of the same name."""
        folder = PurePosixPath(artifact.name).parent.as_posix()
        self.call(
            "log_artifact",
            run.run_id,
            str(artifact.path),
            artifact_path=None if folder == "." else folder,
        )

    def log_inputs(self, run: StoredRun, datasets: Sequence[DatasetUse]) -> None:
        """Say which data sets a run read; one that is there already stays as it is."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(used.name, used.digest, source_type="strictune", source=used.source),
                tags=[InputTag("mlflow.data.context", used.context)],
            )
            for used in datasets
        ]
        self.call("log_inputs", run.run_id, datasets=inputs)
        run.has_inputs = True

    def log_model(
        self, experiment_id: str, run: StoredRun, *, name: str, files: Sequence[Artifact], step: int
    ) -> str:
        """Store an adapter as a logged model of its run and return the model's id.

        After a call that was cut short, the model is found by its run and completed.
        """
        from mlflow.entities import LoggedModelOutput

        wanted = f"source_run_id = '{run.run_id}'"
        found = self.call("search_logged_models", [experiment_id], filter_string=wanted)
        model = (
            found[0]
            if found
            else self.call(
                "create_logged_model",
                experiment_id,
                name=_REFUSED_IN_MODEL_NAMES.sub("_", name),
                source_run_id=run.run_id,
                model_type="LoRA adapter",
            )
        )
        for file in files:
            self.call("log_model_artifact", model.model_id, str(file.path))
        outputs = self.call("get_run", run.run_id).outputs
        if model.model_id not in {output.model_id for output in outputs.model_outputs}:
            output = LoggedModelOutput(model.model_id, step)
            self.call("log_outputs", run.run_id, models=[output])
        self.call("finalize_logged_model", model.model_id, "READY")
        return str(model.model_id)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client."""
        with _translated(f"{self._shown_uri}: {method}"):
            return getattr(self._client, method)(*args, **kwargs)


def _stored(run: Any) -> StoredRun:
    return StoredRun(
        run_id=run.info.run_id,
        status=run.info.status,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        has_inputs=bool(run.inputs and run.inputs.dataset_inputs),
    )


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn any failure into ``StorageError``.

    MLflow lets the errors of its HTTP, SQL and object-store libraries through, so there is
    no narrower class to name.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        # MLflow quotes the whole address.
        raise StorageError(f"{what} failed: {hide_passwords(reason)}") from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence MLflow while it creates a store."""
    logger = logging.getLogger("mlflow.store.db.utils")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"The ``noload`` loader strategy", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
