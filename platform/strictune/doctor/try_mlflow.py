"""Writes a run to MLflow, as the mirror of a sweep does: ``python -m strictune.doctor.try_mlflow``.

A SQLite store is tried in the folder where it would lie, because network drives often lack the
locks that it needs; a server is only asked whether it answers, so that nothing is left in it.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from strictune.addresses import sqlite_path
from strictune.doctor.examination import Finding, Place, broken, ok, print_findings, warning
from strictune.errors import StorageError
from strictune.tracking import default_tracking_uri, without_password
from strictune.tracking.points import Point
from strictune.tracking.store import TrackingStore

__all__ = ["try_store"]

OTHER_STORE = "Give another store with --tracking-uri or MLFLOW_TRACKING_URI."


def try_store(place: Place) -> Finding:
    """Open the store that a new sweep would be mirrored to."""
    uri = place.environ.get("MLFLOW_TRACKING_URI") or default_tracking_uri(place.out)
    shown, path = without_password(uri), sqlite_path(uri)
    if path is None:
        return _ask_server(uri, shown)
    try:
        _write_beside(Place(path.parent, place.environ).existing)
    except (OSError, StorageError) as error:
        return broken("mlflow", str(error), cure=OTHER_STORE)
    if path.exists():
        try:
            TrackingStore.open(uri, out_dir=path.parent)
        except StorageError as error:
            cure = f"If it is of an older MLflow: mlflow db upgrade {shown}. {OTHER_STORE}"
            return broken("mlflow", str(error), cure=cure)
        if not os.access(path, os.W_OK):
            return broken("mlflow", f"{path} cannot be written to", cure=OTHER_STORE)
    return ok("mlflow", f"{shown} can be written to")


def _ask_server(uri: str, shown: str) -> Finding:
    try:
        if TrackingStore.open(uri, out_dir=Path()).is_up():
            return ok("mlflow", f"{shown} answers")
    except StorageError as error:
        return broken("mlflow", str(error), cure=OTHER_STORE)
    return warning(
        "mlflow",
        f"{shown} does not answer",
        cure="Start the server. Sweeps run without it, and `strictune track replay` uploads what "
        "it has missed.",
    )


def _write_beside(folder: Path) -> None:
    """Write one run to a store of its own in ``folder``, and remove the store."""
    with tempfile.TemporaryDirectory(prefix=".strictune-doctor-", dir=folder) as scratch:
        uri = default_tracking_uri(Path(scratch))
        store = TrackingStore.open(uri, out_dir=Path(scratch))
        now_ms = int(time.time() * 1000)
        run = store.create_run(
            store.experiment("doctor"), name="doctor", tags={}, started_ms=now_ms
        )
        store.log(run, points=[Point("doctor/value", 1.0, 0, now_ms)])
        store.set_status(run, "FINISHED", ended_ms=now_ms)


if __name__ == "__main__":
    place = Place(Path(sys.argv[1]), os.environ)
    print_findings({"mlflow": lambda: try_store(place)}, cure=OTHER_STORE)
