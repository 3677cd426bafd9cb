"""Writes a file in one piece, and reads one as a validated model."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from strictune.errors import StorageError

__all__ = ["find_model", "read_model", "replacing", "write_json", "write_text"]

_Model = TypeVar("_Model", bound=BaseModel)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file atomically: readers, and a crash, see the old file or the new one.

    Yields the path of a temporary file beside it, which the body writes and which then takes
    its place. Where the body raises, the old file stays:

        with replacing(path) as temporary:
            table.to_parquet(temporary)
    """
    # Each process has its own, so that two may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: object) -> None:
    """Write a JSON file atomically; keys keep their order."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def read_model(path: Path, model: type[_Model], *, cure: str) -> _Model:
    """Read a JSON file as a model; keys that the model does not know are ignored.

    Raises:
        StorageError: It is missing or cannot be understood; the message names path and key, and
            ends with ``cure``.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise StorageError(f"{path}: there is no such file. {cure}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise StorageError(f"{path}: {where}: {first['msg']}. {cure}") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error}). {cure}") from error


def find_model(path: Path, model: type[_Model], *, cure: str) -> _Model | None:
    """Read a JSON file as ``read_model`` does; None where there is none."""
    return read_model(path, model, cure=cure) if path.exists() else None
