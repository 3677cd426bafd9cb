"""Builds the refiner's splits, and reads the rows of its files."""

from pathlib import Path

from strictune.errors import SpecError
from trainables.tasks.data_files import HubSource, Source, read_source
from trainables.tasks.refiner.prompts import row_messages
from trainables.tasks.refiner.rows import RefinerRow, check_row, row_to_column
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.refiner.synthetic import draw_rows
from trainables.tasks.task import Prompt, Split

__all__ = ["HUB", "ROW_COLUMN", "build_split", "load_rows", "read_prompts"]

HUB = "hub:"
"""Prefix of a split of a hub data set: ``hub:<data set>@<split>``."""

ROW_COLUMN = "row"
"""The prompt column that holds its row."""

_MOST_RESULTS = {"few": 4, "several": 12}
"""Most evidence texts of a row of that difficulty; rows with more are ``many``."""


def build_split(split: Split, settings: RefinerSettings) -> tuple[Prompt, ...]:
    """Return one split: the rows that the settings name, or made-up rows.

    Raises:
        SpecError: A source cannot be read, or a row of it cannot be used.
    """
    source: str | None = getattr(settings, split)
    if source is not None:
        return tuple(_prompt(row) for row in load_rows(source))
    size = settings.num_train_rows if split == "train" else settings.num_eval_rows
    drawn = draw_rows(split, seed=settings.data_seed, num_rows=size)
    return tuple(_prompt(made.row, made.gold) for made in drawn)


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read rows from a file as prompts.

    Raises:
        SpecError: The file cannot be read, or a row of it cannot be used.
    """
    return tuple(_prompt(row) for row in load_rows(str(path)))


def load_rows(source: str) -> tuple[RefinerRow, ...]:
    """Load and check all rows of a source, in order.

    Args:
        source: ``hub:<data set>@<split>``, or a file or folder that ``read_source`` reads.

    Raises:
        SpecError: The source cannot be read, is empty, or a row of it cannot be used.
    """
    rows: dict[str, RefinerRow] = {}
    for raw in read_source(_hub_source(source) if source.startswith(HUB) else source):
        row = check_row(raw)
        if row.id in rows:
            raise SpecError(
                f"{raw.where}: id = {row.id!r} is already used in an earlier row. Give each row "
                "an id of its own."
            )
        rows[row.id] = row
    if not rows:
        raise SpecError(f"{source}: holds no rows, expected at least one.")
    return tuple(rows.values())


def _hub_source(source: str) -> Source:
    name, _, split = source.removeprefix(HUB).partition("@")
    if not name or not split:
        raise SpecError(f"{source}: expected hub:<data set>@<split>, e.g. hub:me/rows@train.")
    return HubSource(dataset=name, split=split)


def _prompt(row: RefinerRow, gold: str | None = None) -> Prompt:
    return Prompt(
        id=row.id,
        text="\n\n".join(message["content"] for message in row_messages(row)),
        family=row.source,
        difficulty=_difficulty(row),
        constructs=_constructs(row),
        columns={ROW_COLUMN: row_to_column(row)},
        gold=gold,
    )


def _difficulty(row: RefinerRow) -> str:
    num_results = len(row.evidence)
    return next((name for name, most in _MOST_RESULTS.items() if num_results <= most), "many")


def _constructs(row: RefinerRow) -> tuple[str, ...]:
    has_negative = any(rubric.is_negative for rubric in row.rubrics)
    return (
        "answerable" if row.is_answerable else "unanswerable",
        *(("negative_rubrics",) if has_negative else ()),
    )
