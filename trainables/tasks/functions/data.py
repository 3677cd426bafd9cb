"""Rows of the user's data as prompts of three splits, all checked before any is used."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError
from trainables.tasks.data_files import Source, read_source
from trainables.tasks.functions.settings import ColumnSettings, FunctionsSettings
from trainables.tasks.jsonl import Row, shown
from trainables.tasks.task import SPLITS, Message, Prompt, Split

__all__ = ["StoredRow", "build_splits", "messages_of", "stored_row", "text_family"]

ROW_COLUMN = "row"
"""The prompt's column that holds its row, as JSON text."""
MIN_FAMILIES = 2
"""Of an evaluation split: intervals are clustered by family."""

_NUMBER = re.compile(r"\d[\d.,]*")
_QUOTED = re.compile(r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|`[^`]*`|(?<!\w)'[^'\n]*'(?!\w)")


class StoredRow(NamedTuple):
    """What scoring reads of a row."""

    prompt: str | list[dict[str, Any]]
    """As it stands in the data: text, or chat messages."""
    columns: dict[str, Any]
    """What reward functions are given by name."""


def build_splits(settings: FunctionsSettings) -> Mapping[Split, tuple[Prompt, ...]]:
    """Read, check and split all rows.

    Raises:
        SpecError: A source cannot be read, a row of it cannot be used, an evaluation split would
            be too small, or a prompt is in two splits.
    """
    given: dict[Split, tuple[Prompt, ...]] = {}
    places: dict[str, str] = {}
    for split in SPLITS:
        source: Source | None = getattr(settings, split)
        if source is not None:
            given[split] = tuple(_prompts(source, settings, places))
    missing = [split for split in SPLITS if split not in given]
    splits = _split_off(given, missing, settings)
    _refuse_leaks(splits)
    return splits


def stored_row(prompt: Prompt) -> StoredRow:
    """Return the row that a prompt was made of."""
    return StoredRow(*json.loads(prompt.columns[ROW_COLUMN]))


def messages_of(prompt: Prompt) -> list[Message]:
    """Return a prompt as chat messages; a plain text is a user's turn."""
    stored = stored_row(prompt).prompt
    if isinstance(stored, str):
        return [{"role": "user", "content": stored}]
    return [{"role": message["role"], "content": message["content"]} for message in stored]


def text_family(text: str) -> str:
    """Name the family of a prompt: what is left without numbers, quoted names, space and case."""
    erased = _NUMBER.sub("0", _QUOTED.sub('""', text.casefold()))
    return hashlib.sha256(" ".join(erased.split()).encode()).hexdigest()[:16]


def _prompts(
    source: Source, settings: FunctionsSettings, places: dict[str, str]
) -> Iterator[Prompt]:
    """Yield the prompts of a source; ``places`` says where each id so far stands."""
    rows = list(read_source(source))
    if not rows:
        raise SpecError(f"{source}: holds no rows, expected at least one.")
    names = dict.fromkeys(name for row in rows for name in row.values)
    for row in rows:
        prompt = _prompt(row, settings, names)
        if prompt.id in places:
            raise SpecError(
                f"{row.where}: {settings.columns.id} = {shown(prompt.id)} is already used in "
                f"{places[prompt.id]}. Give each row an id of its own."
            )
        places[prompt.id] = row.where
        yield prompt


def _prompt(row: Row, settings: FunctionsSettings, names: Mapping[str, None]) -> Prompt:
    columns = settings.columns
    if columns.prompt not in row.values:
        raise SpecError(
            f"{row.where}: column {columns.prompt!r} is missing, expected the prompt as text or "
            f"chat messages. Found {', '.join(row.values)}; name the right one in task.columns, "
            "e.g. {prompt: question}."
        )
    given = row.values[columns.prompt]
    if isinstance(given, str):
        text = row.text(columns.prompt)
    else:
        text = "\n\n".join(message["content"] for message in row.messages(columns.prompt))
    others = {name: row.values.get(name) for name in names if name not in _NOT_PASSED}
    if columns.prompt != "prompt":
        others.pop(columns.prompt)
    family = row.values.get(columns.family)
    return Prompt(
        id=_id(row, columns),
        text=text,
        family=text_family(text) if family is None else str(family),
        difficulty=_difficulty(row, settings),
        columns={ROW_COLUMN: _json(row, StoredRow(given, others))},
        gold=_gold(row, columns.completion),
    )


_NOT_PASSED = ("prompt", "completion", "completion_ids")
"""Columns that TRL passes in another way, or not at all."""


def _id(row: Row, columns: ColumnSettings) -> str:
    given = row.values.get(columns.id)
    if given is None:
        return "/".join(Path(row.where).parts[-2:])
    if not isinstance(given, str | int) or isinstance(given, bool):
        raise SpecError(f"{row.where}: {columns.id} = {shown(given)}, expected text or a number.")
    return str(given)


def _difficulty(row: Row, settings: FunctionsSettings) -> str:
    if not settings.difficulty:
        return settings.difficulties[0]
    column = settings.columns.difficulty
    given = row.values.get(column)
    if given not in settings.difficulty:
        raise SpecError(
            f"{row.where}: {column} = {shown(given)}, expected one of "
            f"{', '.join(settings.difficulty)}, as task.difficulty says."
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


def _split_off(
    given: Mapping[Split, tuple[Prompt, ...]], missing: Sequence[Split], settings: FunctionsSettings
) -> dict[Split, tuple[Prompt, ...]]:
    """Deal the training rows to the splits that have none, by the hash of their family alone."""
    dealt: dict[Split, list[Prompt]] = {split: [] for split in ("train", *missing)}
    shares = {split: getattr(settings.split, split) for split in missing}
    for prompt in given["train"]:
        digest = hashlib.sha256(f"{settings.split.seed}/{prompt.family}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        home: Split = "train"
        for split, share in shares.items():
            if place < share:
                home = split
                break
            place -= share
        dealt[home].append(prompt)
    splits = {**given, **{split: tuple(prompts) for split, prompts in dealt.items()}}
    for split in missing:
        num_families = len({prompt.family for prompt in splits[split]})
        if num_families < MIN_FAMILIES or not splits["train"]:
            total = len({prompt.family for prompt in given["train"]})
            raise SpecError(
                f"{settings.train}: {len(given['train'])} rows of {total} families leave "
                f"{num_families} families for {split}, expected {MIN_FAMILIES} or more. Give more "
                f"rows, raise task.split.{split}, or name rows in task.{split}."
            )
    return {split: splits[split] for split in SPLITS}


def _refuse_leaks(splits: Mapping[Split, tuple[Prompt, ...]]) -> None:
    """Refuse the same prompt, white space and case aside, in two splits."""
    homes: dict[str, tuple[Split, str]] = {}
    leaks: dict[tuple[Split, Split], list[str]] = {}
    for split, prompts in splits.items():
        for prompt in prompts:
            home, first = homes.setdefault(
                " ".join(prompt.text.casefold().split()), (split, prompt.id)
            )
            if home != split:
                leaks.setdefault((home, split), []).append(f"{prompt.id} as {first}")
    if leaks:
        found = "; ".join(
            f"{len(ids)} prompts of {split} are in {home} too, e.g. {ids[0]}"
            for (home, split), ids in leaks.items()
        )
        raise SpecError(
            f"task: {found}. What a model was trained on cannot measure it: remove them from one "
            "side, or give them one family."
        )
