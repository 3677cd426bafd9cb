"""Turns rows of the user's data into prompts, with all that reward functions receive."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError
from trainables.tasks.functions.settings import FunctionsSettings
from trainables.tasks.jsonl import Row, shown
from trainables.tasks.splits import build_splits as split_rows
from trainables.tasks.splits import prompt_text, read_prompts, row_id, text_family
from trainables.tasks.task import SPLITS, Message, OnProgress, Prompt, Split

__all__ = ["StoredRow", "build_splits", "messages_of", "read_file", "stored_row"]

ROW_COLUMN = "row"
"""The prompt column that holds its row, as JSON text."""

_NOT_PASSED = ("prompt", "completion", "completion_ids")
"""Columns that are not passed by name, because TRL passes them in another way or not at all."""


class StoredRow(NamedTuple):
    """The part of a row that scoring reads."""

    prompt: str | list[dict[str, Any]]
    """The prompt as in the data: text, or chat messages."""
    columns: dict[str, Any]
    """The values that reward functions receive by name."""


def build_splits(
    settings: FunctionsSettings, on_progress: OnProgress | None = None
) -> Mapping[Split, tuple[Prompt, ...]]:
    """Read, check and split all rows.

    Raises:
        SpecError: A row cannot be used, see ``splits.build_splits``.
    """
    return split_rows(
        {split: getattr(settings, split) for split in SPLITS},
        settings.split,
        partial(_prompt, settings),
        on_progress,
    )


def read_file(path: Path, settings: FunctionsSettings) -> tuple[Prompt, ...]:
    """Read further rows, e.g. of a suite.

    Raises:
        SpecError: A row cannot be used.
    """
    make_prompt = partial(_prompt, settings)
    return tuple(read_prompts(str(path), make_prompt, {}))


def stored_row(prompt: Prompt) -> StoredRow:
    """Return the row that a prompt was made from."""
    return StoredRow(*json.loads(prompt.columns[ROW_COLUMN]))


def messages_of(prompt: Prompt) -> list[Message]:
    """Return a prompt as chat messages; a plain text becomes one user message."""
    stored = stored_row(prompt).prompt
    if isinstance(stored, str):
        return [{"role": "user", "content": stored}]
    return [{"role": message["role"], "content": message["content"]} for message in stored]


def _prompt(settings: FunctionsSettings, row: Row, names: Sequence[str]) -> Prompt:
    columns = settings.columns
    text = prompt_text(row, columns.prompt)
    others = {name: row.values.get(name) for name in names if name not in _NOT_PASSED}
    if columns.prompt != "prompt":
        others.pop(columns.prompt)
    family = row.values.get(columns.family)
    return Prompt(
        id=row_id(row, columns.id),
        text=text,
        family=text_family(text) if family is None else str(family),
        difficulty=_difficulty(row, settings),
        columns={ROW_COLUMN: _json(row, StoredRow(row.values[columns.prompt], others))},
        gold=_gold(row, columns.completion),
    )


def _difficulty(row: Row, settings: FunctionsSettings) -> str:
    if not settings.difficulty:
        return settings.difficulties[0]
    column = settings.columns.difficulty
    given = row.values.get(column)
    if given not in settings.difficulty:
        raise SpecError(
            f"{row.where}: {column} = {shown(given)}, expected one of "
            f"{', '.join(settings.difficulty)} (task.difficulty)."
        )
    return str(given)


def _gold(row: Row, column: str) -> str | None:
    given = row.values.get(column)
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict):
        given = given[0].get("content")
    if given is None or isinstance(given, str):
        return given
    raise SpecError(
        f"{row.where}: {column} = {shown(given)}, expected text or one assistant message."
    )


def _json(row: Row, stored: StoredRow) -> str:
    try:
        return json.dumps(stored)
    except (TypeError, ValueError, RecursionError):
        for name, value in stored.columns.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError, RecursionError) as error:
                raise SpecError(
                    f"{row.where}: column {name!r} holds {type(value).__name__} ({error}), "
                    "expected text, numbers, true, false, null, lists or objects. Convert it, or "
                    "leave the column out."
                ) from error
        raise
