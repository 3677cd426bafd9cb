"""Caches scores on disk, for all trials of a user on one machine.

The cache is a table in one SQLite file in WAL mode, so many processes can use it at once. Losing it
only costs calls, so a write that fails is logged and ignored.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from strictune.errors import StorageError

__all__ = ["JudgeCache", "cache_key"]

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 30.0
MAX_ROWS = 5_000_000
"""When the cache is opened, the oldest answers beyond this are deleted; about a gigabyte."""
_KEYS_PER_QUERY = 500

_TABLE = (
    "CREATE TABLE IF NOT EXISTS scores (number INTEGER PRIMARY KEY, key BLOB UNIQUE, scores TEXT)"
)
_TRIM = "DELETE FROM scores WHERE number <= (SELECT max(number) FROM scores) - ?"


class JudgeCache:
    """The scores of calls, by ``cache_key``."""

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS) -> None:
        """Open the file, creating it if it is missing.

        Raises:
            StorageError: It cannot be opened, or is not a cache.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_TABLE)
                connection.execute(_TRIM, (max_rows,))
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"{path}: cannot be used as the judge's cache ({error}). Remove the file, or set "
                "task.judge.use_cache to false."
            ) from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, tuple[float, ...]]:
        """Return the scores of those keys that are cached."""
        found: dict[bytes, tuple[float, ...]] = {}
        try:
            with closing(self._connect()) as connection:
                for first in range(0, len(keys), _KEYS_PER_QUERY):
                    part = keys[first : first + _KEYS_PER_QUERY]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT key, scores FROM scores WHERE key IN ({marks})"
                    found |= {
                        key: tuple(json.loads(text))
                        for key, text in connection.execute(query, part)
                    }
        except sqlite3.Error as error:
            logger.warning("judge cache %s was not read: %s", self._path, error)
        return found

    def put(self, entries: Mapping[bytes, tuple[float, ...]]) -> None:
        """Store scores; existing entries stay."""
        rows: Iterable[tuple[bytes, str]] = ((k, json.dumps(v)) for k, v in entries.items())
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany(
                    "INSERT OR IGNORE INTO scores (key, scores) VALUES (?, ?)", rows
                )
        except sqlite3.Error as error:
            logger.warning("judge cache %s was not written: %s", self._path, error)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S)


def cache_key(call: Mapping[str, object]) -> bytes:
    """Return a hash of everything that can change a call's answer."""
    text = json.dumps(call, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
