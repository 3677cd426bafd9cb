"""Addresses of SQLite stores, whatever the folders on the way to them are called."""

from pathlib import Path

from sqlalchemy import URL, make_url

__all__ = ["default_tracking_uri", "sqlite_address", "sqlite_path"]

_SQLITE = "sqlite:///"


def default_tracking_uri(out_dir: Path) -> str:
    """Return the SQLite store that sweeps below ``out_dir`` share."""
    return sqlite_address((out_dir / "mlflow.db").absolute())


def sqlite_address(file: Path) -> str:
    """Return a SQLite file's address for SQLAlchemy, MLflow and Optuna.

    SQLAlchemy unquotes ``%xx`` and ends a path at ``?``, Optuna fills in braces. MLflow makes
    the folders of an address that begins as most do, without unquoting them; so one that has
    to be quoted names SQLite's driver.
    """
    plain = f"{_SQLITE}{file}"
    if make_url(plain).database == str(file) and "{" not in plain and "}" not in plain:
        return plain
    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string()


def sqlite_path(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    if not tracking_uri.startswith((_SQLITE, "sqlite+")):
        return None
    return Path(make_url(tracking_uri).database or "")
