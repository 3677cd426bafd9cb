"""Where SQLite stores lie, whatever the folders on the way are called."""

import sqlite3
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from strictune.config import load_sweep
from strictune.launch.folder import SweepFolder
from strictune.launch.study.cell_study import open_storage
from strictune.tracking.address import default_tracking_uri, sqlite_address, sqlite_path
from strictune.tracking.store import TrackingStore

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
NAMES = [
    "plain",
    "My Runs",
    "job%2Fmain",
    "My%20Runs",
    "100%",
    "%zz",
    "a?b",
    "a?b=c&d#e",
    "#1",
    "{name}",
    "{}",
    "a{",
    "ann@host:5",
    "Läufe·日本",
    'it\'s "so"; $HOME+1',
]


@pytest.mark.parametrize("name", NAMES)
def test_a_sqlite_file_is_found_again_by_its_address(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    file = tmp_path / name / "mlflow.db"
    address = default_tracking_uri(file.parent)
    assert sqlite_path(address) == file
    with sqlalchemy.create_engine(address).connect() as connection:
        connection.execute(sqlalchemy.text("create table t (x)"))
    assert file.stat().st_size > 0
    assert list(tmp_path.iterdir()) == [file.parent]


def test_an_address_that_needs_no_quotes_is_the_usual_one() -> None:
    assert sqlite_address(Path("/a b/mlflow.db")) == "sqlite:////a b/mlflow.db"


@pytest.mark.parametrize("uri", ["http://a/b", "postgresql://a/b", "runs", "databricks"])
def test_other_stores_are_no_files(uri: str) -> None:
    assert sqlite_path(uri) is None


@pytest.mark.parametrize("name", ["job%2Fmain", "a?b {c}#ä"])
def test_mlflow_and_optuna_write_where_they_are_told(tmp_path: Path, name: str) -> None:
    beside = tmp_path / "job" / "main"
    beside.mkdir(parents=True)
    out = tmp_path / name
    store = TrackingStore.open(default_tracking_uri(out), out_dir=out)
    run = store.create_run(store.experiment("e"), name="r", tags={}, started_ms=0)
    sweep = load_sweep(SPACES / "reward_weights_quickstart.yaml", [])
    folder = SweepFolder(out / sweep.name)
    folder.path.mkdir()
    study = optuna.create_study(storage=open_storage(sweep, folder))
    with sqlite3.connect(out / "mlflow.db") as database:
        assert database.execute("select run_uuid from runs").fetchall() == [(run.run_id,)]
    with sqlite3.connect(folder.path / "study.db") as database:
        assert database.execute("select study_name from studies").fetchall() == [
            (study.study_name,)
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "job"])
    assert list(beside.iterdir()) == []
