"""Rows from where they lie, each checked: an error names the file and the row's number."""

from strictune.errors import SpecError
from trainables.tasks.data_files import HubSource, Source, read_source
from trainables.tasks.refiner.rows import RefinerRow, check_row

__all__ = ["HUB", "load_rows"]

HUB = "hub:"
"""``hub:<data set>@<split>`` names a split of a hub data set."""


def load_rows(source: str) -> tuple[RefinerRow, ...]:
    """Load and check all rows of a source, in its order.

    Args:
        source: ``hub:<data set>@<split>``, or a file or folder that ``read_source`` reads.

    Raises:
        SpecError: The source cannot be read, is empty, or a row of it cannot be used.
    """
    rows: dict[str, RefinerRow] = {}
    for raw in read_source(_hub_source(source) if source.startswith(HUB) else source):
        row = check_row(raw)
        if row.id in rows:
            raise SpecError(f"{raw.where}: id = {row.id!r} names an earlier row too.")
        rows[row.id] = row
    if not rows:
        raise SpecError(f"{source}: holds no rows, expected at least one.")
    return tuple(rows.values())


def _hub_source(source: str) -> Source:
    name, _, split = source.removeprefix(HUB).partition("@")
    if not name or not split:
        raise SpecError(f"{source}: expected hub:<data set>@<split>, e.g. hub:me/rows@train.")
    return HubSource(dataset=name, split=split)
