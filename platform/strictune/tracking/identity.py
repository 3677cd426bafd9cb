"""The identity of a sweep in the tracking store, kept in ``tracking.json``, and its page there.

Trial ids are hashes of specs, so two people who run one sweep file against one server have the
same names and ids; the sweep's id tells them apart. The file also remembers the server, so that a
replay needs no address.

MLflow can open a list of runs as somebody has set it up: the button Share keeps filter, order and
columns in a tag of the experiment. A sweep's view is kept the same way: all of its runs, unfolded,
sorted by what they gained.
"""

import json
import os
import re
import secrets
import socket
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from strictune.addresses import sqlite_address, sqlite_path, without_password
from strictune.errors import StorageError
from strictune.records import write_json
from strictune.tracking import names

__all__ = [
    "SweepIdentity",
    "default_tracking_uri",
    "experiment_tags",
    "folder_tag",
    "new_sweep_id",
    "read_identity",
    "runs_page",
    "tracking_uri_for",
    "write_identity",
]

_FILE = "tracking.json"

LOCAL_PAGES = "http://127.0.0.1:5000"
"""Where ``make ui`` serves a store that has no server of its own."""

RUN_NAME = "attributes.`Run Name`"


class SweepIdentity(NamedTuple):
    """The content of ``tracking.json``."""

    sweep_id: str
    tracking_uri: str | None
    """Where the sweep was mirrored last; not kept if it carries a user or a password."""
    experiment_id: str | None = None
    """The experiment that holds its runs there."""


def new_sweep_id(name: str) -> str:
    """Return an id that no other sweep has, and that may stand in a filter."""
    return f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', name)}-{secrets.token_hex(4)}"


def tracking_uri_for(sweep_dir: Path, chosen: str | None = None) -> str:
    """Return where a sweep is mirrored.

    The first of: the chosen address, ``MLFLOW_TRACKING_URI``, where the sweep was mirrored
    last, and the SQLite file beside the sweep. A SQLite file that is gone (the folder was
    moved) is not created again.
    """
    wanted = chosen or os.environ.get("MLFLOW_TRACKING_URI")
    if wanted:
        return wanted
    identity = read_identity(sweep_dir)
    last = identity.tracking_uri if identity else None
    file = sqlite_path(last) if last else None
    if last and (file is None or file.exists()):
        return last
    return default_tracking_uri(sweep_dir.absolute().parent)


def default_tracking_uri(out_dir: Path) -> str:
    """Return the SQLite store that sweeps below ``out_dir`` share."""
    return sqlite_address((out_dir / "mlflow.db").absolute())


def folder_tag(path: Path) -> str:
    """Return machine and path of the records, as a tag."""
    return f"{socket.gethostname()}:{path}"


def read_identity(sweep_dir: Path) -> SweepIdentity | None:
    """Read ``tracking.json``; None if the sweep was never mirrored.

    Raises:
        StorageError: The file is there and cannot be read.
    """
    path = sweep_dir / _FILE
    try:
        content = json.loads(path.read_bytes())
        return SweepIdentity(
            str(content["sweep_id"]), content.get("tracking_uri"), content.get("experiment_id")
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{path}: cannot be read ({type(error).__name__}: {error}). Delete it: the sweep is "
            "then mirrored anew, to runs of its own."
        ) from error


def write_identity(sweep_dir: Path, identity: SweepIdentity) -> None:
    """Write ``tracking.json`` in one piece.

    Raises:
        StorageError: The folder cannot be written to.
    """
    path = sweep_dir / _FILE
    uri = identity.tracking_uri
    kept = identity._replace(tracking_uri=uri if uri and uri == without_password(uri) else None)
    try:
        write_json(path, kept._asdict())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error}).") from error


def experiment_tags(sweep_id: str, primary_criterion: str) -> dict[str, str]:
    """Return the tags of an experiment that holds a sweep: its kind, and the sweep's view."""
    delta = f"delta/{primary_criterion}/pass_at_1_pp"
    metrics = (
        *(f"{delta}{end}" for end in ("", "_lo", "_hi")),
        f"final/{primary_criterion}/pass_at_1",
        "final/think_rate",
        "final/completion_tokens/mean",
    )
    is_ours = f"tags.`{names.SWEEP_ID}` = '{sweep_id}'"
    columns = [
        f"tags.`{names.VERDICT}`",
        *(f"metrics.`{names.metric_key(metric)}`" for metric in metrics),
    ]
    view = {
        "searchFilter": f"{is_ours} and tags.`{names.KIND}` != 'sweep'",
        "orderByKey": f"metrics.`{delta}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": ["0", RUN_NAME, *columns],
        "columnWidths": {RUN_NAME: 270} | dict.fromkeys(columns, 130),
    }
    # MLflow 3.17 goes by the side of its pages that the browser was on last, at first GenAI; other
    # versions by the experiment's kind.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return kind | {f"mlflow.sharedViewState.{sweep_id}": json.dumps(view)}


def runs_page(identity: SweepIdentity | None, tracking_uri: str) -> str | None:
    """Return the address of a sweep's runs; None where the store has no pages that we know."""
    if identity is None or identity.experiment_id is None:
        return None
    address = urlsplit(tracking_uri)
    if address.scheme in ("http", "https"):
        # Without a user's name and password: browsers ask for them.
        base = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
    elif tracking_uri.startswith("databricks"):
        return None
    else:
        base = LOCAL_PAGES
    place = f"#/experiments/{identity.experiment_id}/runs"
    return f"{base}/{place}?workflowType=machine_learning&viewStateShareKey={identity.sweep_id}"
