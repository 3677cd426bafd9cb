"""Reads evaluation prompts from a JSONL file with a schema in each row.

A row is ``{"id", "prompt", "schema", "difficulty"?, "family"?, "gold"?}``, the format that
``export`` writes. Difficulty and family are measured on the schema if they are missing. Other
columns are ignored, unless they look like a misspelt name.
"""

import json
from pathlib import Path
from typing import Any

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, read_rows, shown
from trainables.tasks.strict_json.measure import DIFFICULTIES, constructs_of, difficulty_of
from trainables.tasks.strict_json.skeleton import family_of
from trainables.tasks.strict_json.validation import compile_schema
from trainables.tasks.task import Prompt

__all__ = ["embedded_schema", "read_schema", "read_suite"]

_COLUMNS = ("id", "prompt", "schema", "difficulty", "family", "gold")
_MISSPELT_CUTOFF = 0.8


def read_suite(path: Path) -> tuple[Prompt, ...]:
    """Read a suite, plain or gzip, in file order.

    Raises:
        SpecError: The file cannot be read, holds no row, or has a row that cannot be used;
            the message names file, line and field.
    """
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    for row in read_rows(path):
        prompt = _prompt(row)
        if prompt.id in places:
            raise SpecError(
                f"{row.where}: id = {shown(prompt.id)} is already used in line "
                f"{places[prompt.id].rsplit(':', 1)[-1]}. Give each row an id of its own."
            )
        places[prompt.id] = row.where
        prompts.append(prompt)
    if not prompts:
        raise SpecError(
            f"{path}: holds no row, expected one JSON object a line with the fields "
            "id, prompt and schema."
        )
    return tuple(prompts)


def read_schema(row: Row) -> dict[str, Any] | bool:
    """Return the column ``schema`` of a row, after checking that scoring accepts it.

    Raises:
        SpecError: It is missing, or scoring cannot use it.
    """
    schema = embedded_schema(row)
    try:
        compile_schema(schema)
    except SpecError as error:
        raise SpecError(f"{row.where}: {error}") from error
    return schema


def embedded_schema(row: Row) -> dict[str, Any] | bool:
    """Return the column ``schema`` of a row, without compiling it.

    Raises:
        SpecError: It is missing, or not a JSON object, true or false.
    """
    if "schema" not in row.values:
        raise SpecError(
            f"{row.where}: field 'schema' is missing, expected a JSON Schema. Add the schema that "
            "an answer must conform to, or remove the row."
        )
    schema = row.values["schema"]
    if not isinstance(schema, (dict, bool)):
        raise SpecError(
            f"{row.where}: schema = {shown(schema)}, expected a JSON Schema: an object, or true "
            "or false. Schemas are embedded as JSON, not as text."
        )
    return schema


def _prompt(row: Row) -> Prompt:
    row.refuse_misspelt(_COLUMNS, cutoff=_MISSPELT_CUTOFF)
    name, text = row.text("id"), row.text("prompt")
    schema = read_schema(row)
    difficulty = row.values.get("difficulty")
    if difficulty is not None and difficulty not in DIFFICULTIES:
        raise SpecError(
            f"{row.where}: difficulty = {shown(difficulty)}, expected {', '.join(DIFFICULTIES)}. "
            "Leave it out to have it measured on the schema."
        )
    try:
        return Prompt(
            id=name,
            text=text,
            family=row.optional_text("family") or family_of(schema),
            difficulty=difficulty or difficulty_of(schema),
            constructs=constructs_of(schema),
            columns={"schema": json.dumps(schema, separators=(",", ":"))},
            gold=row.optional_text("gold"),
        )
    except RecursionError:
        raise SpecError(f"{row.where}: schema is nested too deeply to be read.") from None
