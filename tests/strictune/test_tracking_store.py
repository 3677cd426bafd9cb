"""Addresses of stores: which one is used, and that no password leaves them."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from tracking_fakes import FakeSweep, StoredRuns, empty_store

from strictune.errors import StorageError
from strictune.tracking import Mirror, default_tracking_uri, replay, runs_page, tracking_uri_for
from strictune.tracking.identity import SweepIdentity, read_identity, write_identity
from strictune.tracking.store import TrackingStore

SERVER = "http://127.0.0.1:5000"
SECRET = "http://ann:secret@127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_address_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_the_error_of_a_store_that_is_away_hides_the_password(tmp_path: Path) -> None:
    store = TrackingStore.open(SECRET, out_dir=tmp_path)
    assert not store.is_up()
    with pytest.raises(StorageError) as caught:
        store.experiment("strictune/strict_json")
    assert "127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_is_not_kept_in_the_folder(tmp_path: Path) -> None:
    for uri in (SECRET, "postgresql://ann:#secret@db/x", "mysql://db/x?user=ann&password=secret"):
        write_identity(tmp_path, SweepIdentity("sweep-1", uri))
        assert "secret" not in (tmp_path / "tracking.json").read_text()
        assert read_identity(tmp_path) == SweepIdentity("sweep-1", None)


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        pytest.param("http://a:5000/", "http://a:5000/#/", id="server"),
        pytest.param("https://ann:secret@a/mlflow", "https://a/mlflow/#/", id="password"),
        pytest.param("sqlite:////x/mlflow.db", "http://127.0.0.1:5000/#/", id="file"),
        pytest.param("databricks", None, id="databricks"),
    ],
)
def test_the_page_of_a_sweep_is_on_the_server_that_shows_it(uri: str, base: str | None) -> None:
    page = runs_page(SweepIdentity("sweep-1", None, "7"), uri)
    view = "experiments/7/runs?workflowType=machine_learning&viewStateShareKey=sweep-1"
    assert page == (base and base + view)
    assert runs_page(SweepIdentity("sweep-1", None), uri) is None


def test_the_experiment_holds_the_view_of_each_sweep(tmp_path: Path) -> None:
    sweeps = [FakeSweep(tmp_path), FakeSweep(tmp_path / "other")]
    for sweep in sweeps:
        replay(sweep.path, sweeps[0].uri)
    client = StoredRuns(sweeps[0].uri).client
    tags = client.get_experiment_by_name("strictune/strict_json").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    for sweep in sweeps:
        identity = read_identity(sweep.path)
        assert identity is not None
        view = json.loads(tags[f"mlflow.sharedViewState.{identity.sweep_id}"])
        assert view["orderByKey"] == "metrics.`delta/strict/pass_at_1_pp`"
        runs = client.search_runs([identity.experiment_id], view["searchFilter"])
        assert runs == []  # The parent alone is there, and is no row of the page.


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_an_identity_that_cannot_be_read_is_refused_with_its_cure(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "tracking.json").write_text(content)
    with pytest.raises(StorageError, match="Delete it"):
        read_identity(tmp_path)


@pytest.mark.parametrize(
    ("chosen", "environment", "recorded", "expected"),
    [
        pytest.param("http://a", "http://b", "http://c", "http://a", id="chosen"),
        pytest.param(None, "http://b", "http://c", "http://b", id="environment"),
        pytest.param(None, None, "http://c", "http://c", id="where-it-was-last"),
        pytest.param(None, None, "sqlite:////gone/mlflow.db", None, id="file-that-is-gone"),
        pytest.param(None, None, None, None, id="default"),
    ],
)
def test_a_sweep_is_tracked_where_it_was_told_or_was_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str | None,
    environment: str | None,
    recorded: str | None,
    expected: str | None,
) -> None:
    if environment:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", environment)
    if recorded:
        content = {"sweep_id": "sweep-1", "tracking_uri": recorded}
        (tmp_path / "tracking.json").write_text(json.dumps(content))
    wanted = expected or default_tracking_uri(tmp_path.parent)
    assert tracking_uri_for(tmp_path, chosen) == wanted


def test_a_store_of_another_version_is_refused_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_store())
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'of_another_version'")
        database.commit()
    with pytest.raises(StorageError, match="mlflow db upgrade"):
        Mirror(tmp_path, f"sqlite:///{path}").open()
