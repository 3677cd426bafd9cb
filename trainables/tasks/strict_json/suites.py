"""Evaluation prompts from outside: a JSONL file with a schema in each row.

A row is ``{"id", "prompt", "schema", "difficulty"?, "family"?, "gold"?}``, the format that
``export`` writes. What is optional is measured on the schema where it is missing. Other
columns are ignored, unless they read like a misspelt one.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator, validator_for

from strictune.errors import SpecError
from trainables.tasks.strict_json.measure import DIFFICULTIES, constructs_of, difficulty_of
from trainables.tasks.strict_json.skeleton import family_of
from trainables.tasks.task import Prompt

__all__ = ["read_suite"]

_COLUMNS = ("id", "prompt", "schema", "difficulty", "family", "gold")
_SHOWN_CHARS = 60


def read_suite(path: Path) -> tuple[Prompt, ...]:
    """Read a suite, in file order.

    Raises:
        SpecError: The file cannot be read, holds no row, or has a row that cannot be used;
            the message names file, line and field.
    """
    prompts: list[Prompt] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        prompt = _prompt(line, f"{path}:{number}")
        if prompt.id in lines:
            raise SpecError(
                f"{path}:{number}: id = {_shown(prompt.id)} is already used in line "
                f"{lines[prompt.id]}. Give each row an id of its own."
            )
        lines[prompt.id] = number
        prompts.append(prompt)
    if not prompts:
        raise SpecError(
            f"{path}: holds no row, expected one JSON object a line with the fields "
            "id, prompt and schema."
        )
    return tuple(prompts)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    # Only line feeds end a row: JSON strings may hold other line separators.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _prompt(line: str, where: str) -> Prompt:
    row = _row(line, where)
    name, text = _text(row, "id", where), _text(row, "prompt", where)
    schema = _schema(row, where)
    difficulty = row.get("difficulty")
    if difficulty is not None and difficulty not in DIFFICULTIES:
        raise SpecError(
            f"{where}: difficulty = {_shown(difficulty)}, expected {', '.join(DIFFICULTIES)}. "
            "Leave it out to have it measured on the schema."
        )
    try:
        return Prompt(
            id=name,
            text=text,
            family=_optional_text(row, "family", where) or family_of(schema),
            difficulty=difficulty or difficulty_of(schema),
            constructs=constructs_of(schema),
            columns={"schema": json.dumps(schema, separators=(",", ":"))},
            gold=_optional_text(row, "gold", where),
        )
    except RecursionError:
        raise SpecError(f"{where}: schema is nested too deeply to be read.") from None


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where}: is not JSON ({error}), expected one object a line.") from error
    if not isinstance(row, dict):
        raise SpecError(f"{where}: found {_shown(row)}, expected a JSON object.")
    for column in row.keys() - set(_COLUMNS):
        close = difflib.get_close_matches(column, _COLUMNS, n=1, cutoff=0.8)
        if close and close[0] not in row:
            raise SpecError(f"{where}: unknown field {_shown(column)}, did you mean {close[0]!r}?")
    return row


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    if column not in row:
        raise SpecError(f"{where}: field {column!r} is missing, expected text.")
    text = row[column]
    if not isinstance(text, str) or not text.strip():
        raise SpecError(f"{where}: {column} = {_shown(text)}, expected text that is not empty.")
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise SpecError(f"{where}: {column} holds half of a surrogate pair, which is no text.")
    return text


def _optional_text(row: Mapping[str, Any], column: str, where: str) -> str | None:
    return _text(row, column, where) if row.get(column) is not None else None


def _schema(row: Mapping[str, Any], where: str) -> Mapping[str, Any] | bool:
    if "schema" not in row:
        raise SpecError(
            f"{where}: field 'schema' is missing, expected a JSON Schema. Add the schema that "
            "an answer must conform to, or remove the row."
        )
    schema = row["schema"]
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise SpecError(
            f"{where}: schema = {_shown(schema)}, expected a JSON Schema: an object, or true "
            "or false. Schemas are embedded as JSON, not as text."
        )
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        place = "/".join(str(part) for part in ("", *error.absolute_path)) or "/"
        raise SpecError(
            f"{where}: schema is not a valid JSON Schema at {place}: {error.message}"
        ) from error
    except RecursionError:
        raise SpecError(f"{where}: schema is nested too deeply to be read.") from None
    return schema


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
