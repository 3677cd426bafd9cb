"""Turns rows of a user's files into prompts with schemas and, if given, expected answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, shown
from trainables.tasks.splits import (
    build_splits,
    prompt_text,
    read_prompts,
    row_id,
    text_family,
)
from trainables.tasks.strict_json.measure import DIFFICULTIES, constructs_of, difficulty_of
from trainables.tasks.strict_json.prompts import system_prompt
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.strict_json.validation import Predicate, compile_schema
from trainables.tasks.task import SPLITS, Message, OnProgress, Prompt, Split

__all__ = ["file_messages", "file_splits", "file_suite"]

MESSAGES = "messages"
"""The prompt column that holds its own messages, as JSON text."""
_SHOWN_SCHEMA = "Answer with a JSON document that conforms to this JSON Schema:\n{schema}"


_as_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class _Schema(NamedTuple):
    """A checked schema."""

    text: str
    conforms: Predicate
    difficulty: str
    constructs: tuple[str, ...]


def file_splits(
    settings: StrictJsonSettings, on_progress: OnProgress | None = None
) -> Mapping[Split, tuple[Prompt, ...]]:
    """Read, check and split all rows.

    Raises:
        SpecError: A row cannot be used (see ``splits.build_splits``), has no schema, or has an
            answer that does not conform to it.
    """
    sources = {split: getattr(settings, split) for split in SPLITS}
    return build_splits(sources, settings.split, _prompt_maker(settings), on_progress)


def file_suite(path: Path, settings: StrictJsonSettings) -> tuple[Prompt, ...]:
    """Read further rows with the same columns.

    Raises:
        SpecError: A row cannot be used.
    """
    return tuple(read_prompts(str(path), _prompt_maker(settings), {}))


def file_messages(prompt: Prompt, *, thinking: bool) -> list[Message] | None:
    """Return a file's prompt with the system text in front; None for a generated prompt."""
    if MESSAGES not in prompt.columns:
        return None
    first, *others = json.loads(prompt.columns[MESSAGES])
    system = system_prompt(thinking=thinking)
    if first["role"] == "system":
        return [{"role": "system", "content": f"{system}\n\n{first['content']}"}, *others]
    return [{"role": "system", "content": system}, first, *others]


def _prompt_maker(settings: StrictJsonSettings) -> Callable[[Row, Sequence[str]], Prompt]:
    shared = None if settings.schema_ is None else _shared_schema(Path(settings.schema_))
    known: dict[str, _Schema] = {}
    return partial(_prompt, settings=settings, shared=shared, known=known)


def _shared_schema(path: Path) -> _Schema:
    try:
        schema = json.loads(path.expanduser().read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(
            f"task.schema = {path}: cannot be read as JSON ({error}). Expected a JSON Schema."
        ) from error
    return _schema(schema, f"task.schema = {path}")


def _schema(schema: Any, where: str) -> _Schema:
    if not isinstance(schema, dict | bool):
        raise SpecError(f"{where}: found {shown(schema)}, expected a JSON Schema: an object.")
    try:
        return _Schema(
            text=json.dumps(schema, separators=(",", ":")),
            conforms=compile_schema(schema),
            difficulty=difficulty_of(schema),
            constructs=constructs_of(schema),
        )
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error
    except RecursionError:
        raise SpecError(f"{where}: the schema is nested too deeply to be read.") from None


def _prompt(
    row: Row,
    columns: Sequence[str],
    *,
    settings: StrictJsonSettings,
    shared: _Schema | None,
    known: dict[str, _Schema],
) -> Prompt:
    names = settings.columns
    text = prompt_text(row, names.prompt)
    schema = shared or _own_schema(row, names.schema_, known)
    scored = {"schema": schema.text}
    gold = None
    if names.answer is not None:
        answer = _json_value(row, names.answer)
        if not schema.conforms(answer):
            raise SpecError(
                f"{row.where}: {names.answer} = {shown(answer)} does not conform to its schema, so "
                "no completion could be right. Correct either of them."
            )
        try:
            gold = scored["answer"] = _as_text(answer)
        except ValueError as error:
            raise SpecError(
                f"{row.where}: {names.answer} = {shown(answer)} holds a number that JSON cannot "
                "express. Correct it."
            ) from error
    given = row.values[names.prompt]
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    if settings.show_schema:
        asked = f"{messages[-1]['content']}\n\n{_SHOWN_SCHEMA.format(schema=schema.text)}"
        messages[-1] = {**messages[-1], "content": asked}
    family = row.values.get(names.family)
    return Prompt(
        id=row_id(row, names.id),
        text=text,
        family=text_family(text) if family is None else str(family),
        difficulty=_difficulty(row, names.difficulty) or schema.difficulty,
        constructs=schema.constructs,
        columns={**scored, MESSAGES: json.dumps(messages)},
        gold=gold,
    )


def _own_schema(row: Row, column: str, known: dict[str, _Schema]) -> _Schema:
    if row.values.get(column) is None:
        raise SpecError(
            f"{row.where}: column {column!r} is missing, expected a JSON Schema. Add it, name the "
            "column in task.columns.schema, or a file for all rows in task.schema."
        )
    schema = _json_value(row, column)
    text = json.dumps(schema)
    if text not in known:
        known[text] = _schema(schema, f"{row.where}: {column}")
    return known[text]


def _json_value(row: Row, column: str) -> Any:
    """Return a JSON column, given as a value or as text."""
    if row.values.get(column) is None:
        raise SpecError(
            f"{row.where}: column {column!r} is missing, expected a JSON document. Add it, or take "
            "the row out."
        )
    value = row.values[column]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{row.where}: {column} = {shown(value)} is not JSON ({error}).") from error


def _difficulty(row: Row, column: str) -> str | None:
    given = row.values.get(column)
    if given is not None and given not in DIFFICULTIES:
        raise SpecError(
            f"{row.where}: {column} = {shown(given)}, expected {', '.join(DIFFICULTIES)}. Leave it "
            "out to have it measured on the schema."
        )
    return given
