"""Addresses of tracking stores: the default one, SQLite files, and what may be shown."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

__all__ = ["default_tracking_uri", "has_password", "sqlite_path", "without_password"]

_SQLITE = "sqlite:///"


def default_tracking_uri(out_dir: Path) -> str:
    """Return the SQLite store that sweeps below ``out_dir`` share."""
    return f"{_SQLITE}{(out_dir / 'mlflow.db').absolute()}"


def sqlite_path(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0])


def has_password(tracking_uri: str) -> bool:
    """Whether the address carries a user's name or password."""
    return "@" in urlsplit(tracking_uri).netloc


def without_password(tracking_uri: str) -> str:
    """Return the address as it may be shown and logged."""
    if not has_password(tracking_uri):
        return tracking_uri
    parts = urlsplit(tracking_uri)
    return urlunsplit(parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}"))
