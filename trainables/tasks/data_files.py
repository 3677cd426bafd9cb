"""Reads rows of a user's data: files, a folder of files, or a Hugging Face data set.

It reads JSONL and CSV (plain or gzip), JSON and Parquet, and the hub through ``datasets``. All give
the same rows, each with its place for error messages; callers interpret the columns.
"""

import csv
import gzip
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, read_rows, shown

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["HubSource", "Source", "read_source"]

_BATCH_ROWS = 1024
_GZIP = ".gz"
_LONGEST_FIELD = 2**31 - 1
_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


class HubSource(BaseModel):
    """One split of a data set on the Hugging Face hub."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: Annotated[str, Field(min_length=1)]
    """The id of the data set, e.g. ``openai/gsm8k``."""
    name: str | None = None
    """The configuration, if the data set has several."""
    split: Annotated[str, Field(min_length=1)] = "train"
    """A split in the syntax of ``datasets``, e.g. ``train[:2000]``."""
    revision: str | None = None
    """Commit, branch or tag. A commit guarantees that the data stay the same during a sweep."""

    def __str__(self) -> str:
        name = f"/{self.name}" if self.name else ""
        return f"{self.dataset}{name}@{self.split}"


Source = str | HubSource
"""A file, a folder of files, or a split of a hub data set."""


def read_source(source: Source) -> Iterator[Row]:
    """Yield the rows of a source in order.

    Raises:
        SpecError: The source cannot be read; the message names file and row.
    """
    if isinstance(source, HubSource):
        yield from _hub_rows(source)
        return
    path = Path(source).expanduser()
    if not path.exists():
        raise SpecError(
            f"{path}: no such file or folder, beside the sweep file or in {Path.cwd()}."
        )
    for file in _files_in(path) if path.is_dir() else [path]:
        yield from _file_rows(file)


def _files_in(folder: Path) -> list[Path]:
    """Return the data files of a folder by name; other files, e.g. a README, are ignored."""
    found = sorted(file for file in folder.iterdir() if _suffix(file) in _SUFFIXES)
    if not found:
        raise SpecError(f"{folder}: holds no data file, expected {', '.join(_SUFFIXES)}.")
    return found


def _suffix(file: Path) -> str:
    return file.with_suffix("").suffix if file.suffix == _GZIP else file.suffix


def _file_rows(file: Path) -> Iterator[Row]:
    suffix = _suffix(file)
    if suffix == ".parquet":
        return _parquet_rows(file)
    if suffix == ".csv":
        return _csv_rows(file)
    return _json_rows(file) if suffix == ".json" else read_rows(file)


def _json_rows(file: Path) -> Iterator[Row]:
    """Read an array of objects; a file that does not start with ``[`` is read as JSON Lines."""
    text = _text(file)
    if not text.lstrip().startswith("["):
        yield from read_rows(file)
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{file}: is not JSON ({error}).") from error
    for number, values in enumerate(found, start=1):
        if not isinstance(values, dict):
            raise SpecError(f"{file}: row {number}: found {shown(values)}, expected an object.")
        yield Row(f"{file}: row {number}", values)


def _csv_rows(file: Path) -> Iterator[Row]:
    """Read a table with a header; columns that hold only numbers are converted to numbers."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(_text(file), newline=""))
    header: list[str] = next(reader, [])
    if twice := [name for name, times in Counter(header).items() if times > 1]:
        raise SpecError(f"{file}:1: the header names {', '.join(twice)} twice. Rename one of them.")
    places, rows = [], []
    try:
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise SpecError(
                    f"{file}:{reader.line_num}: found {len(fields)} fields, expected "
                    f"{len(header)} as in the header ({', '.join(header)}). Quote texts that hold "
                    "commas or line breaks."
                )
            places.append(f"{file}:{reader.line_num}")
            rows.append(fields)
    except csv.Error as error:
        raise SpecError(f"{file}:{reader.line_num}: cannot be read as CSV ({error}).") from error
    columns = [_typed(list(column)) for column in zip(*rows, strict=True)]
    for place, values in zip(places, zip(*columns, strict=True), strict=True):
        yield Row(place, dict(zip(header, values, strict=True)))


def _typed(column: list[str]) -> list[Any]:
    """Convert a column to int, or else float, if all values that are not empty allow it."""
    for kind in (int, float):
        try:
            values = [kind(text) if text else None for text in column]
        except ValueError:
            continue
        if all(value is None or isfinite(value) for value in values):
            return values
    return [text or None for text in column]


def _text(file: Path) -> str:
    """Return the text of a file without a byte order mark."""
    try:
        raw = file.read_bytes()
        data = gzip.decompress(raw) if file.suffix == _GZIP else raw
    except (OSError, EOFError) as error:
        raise SpecError(f"{file}: cannot be read ({error}).") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{file}:{line}: cannot be read as UTF-8 text ({error}). Save the file as UTF-8."
        ) from error


def _parquet_rows(file: Path) -> Iterator[Row]:
    # Imported late: settings import this module, and few of them use Parquet.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                _refuse_undecodable(batch, f"{file}: row", number)
                for values in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield Row(f"{file}: row {number}", values)
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"{file}: cannot be read as Parquet ({error}).") from error


def _refuse_undecodable(batch: "pa.RecordBatch", where: str, num_before: int) -> None:
    """Raise an error for bytes that are not UTF-8; Arrow does not check them on reading."""
    import pyarrow as pa

    try:
        batch.validate(full=True)
        return
    except pa.ArrowInvalid:
        cells = (
            (number, name, cell)
            for number, row in enumerate(zip(*batch.columns, strict=True), start=num_before + 1)
            for name, cell in zip(batch.schema.names, row, strict=True)
        )
        for number, name, cell in cells:
            try:
                cell.as_py()
            except UnicodeDecodeError as error:
                raise SpecError(
                    f"{where} {number}: {name} holds bytes that are not UTF-8 text ({error}). Cut "
                    "texts between characters, not within one."
                ) from error
        raise


def _hub_rows(source: HubSource) -> Iterator[Row]:
    # A slow import that only this source needs.
    import datasets

    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    try:
        hub.setLevel(logging.ERROR)  # Hides a warning for each retry.
        found = datasets.load_dataset(
            source.dataset, source.name, split=source.split, revision=source.revision
        )
    except Exception as error:
        # Readers, the hub client and the network raise unrelated exception types.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SpecError(
            f"{source}: cannot be loaded from the hub ({reason[0]}). Check the name, or save the "
            "data set to a file where there is no network."
        ) from error
    finally:
        hub.setLevel(level)
    for number, values in enumerate(found, start=1):
        yield Row(f"{source}: row {number}", values)
