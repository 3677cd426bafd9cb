"""The splits of the refiner as prompts."""

from pathlib import Path

from trainables.tasks.refiner.prompts import row_messages
from trainables.tasks.refiner.row_files import load_rows
from trainables.tasks.refiner.rows import RefinerRow, row_to_column
from trainables.tasks.refiner.settings import RefinerSettings
from trainables.tasks.refiner.synthetic import SyntheticRow, draw_rows
from trainables.tasks.task import Prompt, Split

__all__ = ["ROW_COLUMN", "build_split", "read_prompts"]

ROW_COLUMN = "row"
"""The prompt's column that holds its row."""

_MOST_RESULTS = {"few": 4, "several": 12}
"""Texts of evidence up to which a row is of that difficulty; more is ``many``."""


def build_split(split: Split, settings: RefinerSettings) -> tuple[Prompt, ...]:
    """Return one split: the rows that the settings name, or made-up ones.

    Raises:
        SpecError: A source cannot be read, or a row of it cannot be used.
    """
    source: str | None = getattr(settings, split)
    if source is not None:
        return tuple(_prompt(row) for row in load_rows(source))
    size = settings.num_train_rows if split == "train" else settings.num_eval_rows
    drawn = draw_rows(split, seed=settings.data_seed, num_rows=size)
    return tuple(_synthetic_prompt(made) for made in drawn)


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read rows from a file as prompts.

    Raises:
        SpecError: The file cannot be read, or a row of it cannot be used.
    """
    return tuple(_prompt(row) for row in load_rows(str(path)))


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


def _synthetic_prompt(made: SyntheticRow) -> Prompt:
    return _prompt(made.row, made.gold)


def _difficulty(row: RefinerRow) -> str:
    num_results = len(row.evidence)
    return next((name for name, most in _MOST_RESULTS.items() if num_results <= most), "many")


def _constructs(row: RefinerRow) -> tuple[str, ...]:
    has_negative = any(rubric.is_negative for rubric in row.rubrics)
    return (
        "answerable" if row.is_answerable else "unanswerable",
        *(("negative_rubrics",) if has_negative else ()),
    )
