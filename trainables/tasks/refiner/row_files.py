"""Rows from where they lie: a JSONL file, a Parquet file, or a split of a hub data set.

All three give the same checked rows, and an error names the file and the row's number.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, read_rows
from trainables.tasks.refiner.rows import RefinerRow, check_row

__all__ = ["HUB", "load_rows"]

HUB = "hub:"
"""``hub:<data set>@<split>`` names a split of a hub data set."""

_BATCH_ROWS = 1024


def load_rows(source: str) -> tuple[RefinerRow, ...]:
    """Load and check all rows of a source, in its order.

    Args:
        source: ``hub:<data set>@<split>``, a ``.parquet`` file, or a JSONL file, plain or gzip.

    Raises:
        SpecError: The source cannot be read, is empty, or a row of it cannot be used.
    """
    rows: dict[str, RefinerRow] = {}
    for raw in _raw_rows(source):
        row = check_row(raw)
        if row.id in rows:
            raise SpecError(f"{raw.where}: id = {row.id!r} names an earlier row too.")
        rows[row.id] = row
    if not rows:
        raise SpecError(f"{source}: holds no rows, expected at least one.")
    return tuple(rows.values())


def _raw_rows(source: str) -> Iterator[Row]:
    if source.startswith(HUB):
        return _hub_rows(source)
    path = Path(source).expanduser()
    return _parquet_rows(path) if path.suffix == ".parquet" else read_rows(path)


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                _refuse_undecodable(batch, f"{path}: row", number)
                for values in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield Row(f"{path}: row {number}", values)
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"{path}: cannot be read as Parquet ({error}).") from error


def _refuse_undecodable(batch: pa.RecordBatch, where: str, num_before: int) -> None:
    """Refuse bytes that are no UTF-8, such as half of a surrogate pair: Arrow checks none."""
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
                    f"{where} {number}: {name} holds bytes that are no UTF-8 text ({error}). Cut "
                    "texts between characters, not within one."
                ) from error
        raise


def _hub_rows(source: str) -> Iterator[Row]:
    name, _, split = source.removeprefix(HUB).partition("@")
    if not name or not split:
        raise SpecError(f"{source}: expected hub:<data set>@<split>, e.g. hub:me/rows@train.")
    # Heavy, and only this source needs it.
    import datasets

    try:
        found = datasets.load_dataset(name, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SpecError(f"{source}: cannot be loaded ({error}).") from error
    for number, values in enumerate(found, start=1):
        yield Row(f"{source}: row {number}", values)
