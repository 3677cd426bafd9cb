"""Addresses of tracking stores: the default one, and SQLite files."""

from pathlib import Path

__all__ = ["default_tracking_uri", "sqlite_path"]

_SQLITE = "sqlite:///"


def default_tracking_uri(out_dir: Path) -> str:
    """Return the SQLite store that sweeps below ``out_dir`` share."""
    return f"{_SQLITE}{(out_dir / 'mlflow.db').absolute()}"


def sqlite_path(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0])
