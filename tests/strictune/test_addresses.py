"""Addresses: no password of them is shown, and SQLite files are found again by theirs."""

import sqlite3
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from strictune.addresses import (
    has_password,
    hide_passwords,
    sqlite_address,
    sqlite_path,
    without_password,
)
from strictune.config import load_sweep
from strictune.launch.folder import SweepFolder
from strictune.launch.study.cell_study import open_storage
from strictune.tracking import default_tracking_uri
from strictune.tracking.store import TrackingStore

PLAIN = [
    "http://127.0.0.1:5000",
    "http://host:5000/api/v1?page=2#part",
    "sqlite:////a b/mlflow.db",
    "sqlite:////home/ann@work/mlflow.db",
    "postgresql+psycopg2://db:5432/x?sslmode=require",
    "s3://bucket/ann@work",
    "databricks",
    "/shared/mlruns",
]
SECRETS = [
    ("https://ann:secret@host:80/x", "https://***@host:80/x"),
    ("postgresql://ann:p@secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa#secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa?secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa/secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa secret@db/x", "postgresql://***@db/x"),
    ("mysql://db/x?user=ann&password=secret", "mysql://db/x?user=ann&password=***"),
    ("mysql://db:1/x?PASSWD=a@secret&b=c", "mysql://db:1/x?PASSWD=***&b=c"),
    ("mssql+pyodbc://?odbc_connect=PWD%3Dsecret", "mssql+pyodbc://?odbc_connect=***"),
    ("http://host/x?access_token=secret", "http://host/x?access_token=***"),
]


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert without_password(address) == hide_passwords(address) == address
    assert not has_password(address)


@pytest.mark.parametrize(("address", "shown"), SECRETS)
def test_a_password_is_not_shown_wherever_its_reader_finds_it(address: str, shown: str) -> None:
    assert without_password(address) == shown
    assert has_password(address)
    assert without_password(shown) == shown


@pytest.mark.parametrize("mark", "#?/ ;,'=")
def test_what_sqlalchemy_takes_for_a_password_is_hidden(mark: str) -> None:
    address = f"postgresql://ann:sec{mark}ret@db/x"
    assert sqlalchemy.make_url(address).password == f"sec{mark}ret"
    assert without_password(address) == "postgresql://***@db/x"


def test_a_user_alone_may_be_a_token_and_is_hidden() -> None:
    assert without_password("https://ann@host") == "https://***@host"
    assert not has_password("https://ann@host")


@pytest.mark.parametrize(("address", "shown"), [pair for pair in SECRETS if " " not in pair[0]])
def test_a_message_hides_the_addresses_that_it_quotes(address: str, shown: str) -> None:
    text = "{} failed, and so did {} ; write to help@example.org"
    assert hide_passwords(text.format(address, address)) == text.format(shown, shown)


# SQLite files, whatever the folders on the way are called.

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
