"""Schemas for recorded completions, found by prompt or id.

A row is ``{"schema", "prompt" or "id"}``; other columns, such as ``difficulty``, can be used to
break results down. Suite files have this format too. All schemas are held in memory.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, read_rows, shown
from trainables.tasks.strict_json.suites import read_schema

__all__ = ["Reference", "References", "read_references"]

Key = tuple[str, str | int]
"""``("id", value)`` or ``("prompt", text)``."""


class Reference(NamedTuple):
    """The schema that completions of one prompt are scored against."""

    schema: str
    """The schema as JSON text."""
    where: str
    columns: Mapping[str, Any]
    """The row's other columns, e.g. ``difficulty``."""


class References:
    """The schemas of a file, found by the prompt or the id of a completion."""

    def __init__(self, path: Path) -> None:
        """Start without schemas; ``path`` is used in messages."""
        self._path = path
        self._by_key: dict[Key, Reference] = {}

    def add(self, row: Row, reference: Reference) -> None:
        """Add a schema under the keys of its row.

        Raises:
            SpecError: The row has no key, or one that has another schema already.
        """
        for key in _keys(row):
            known = self._by_key.setdefault(key, reference)
            if known.schema != reference.schema:
                raise SpecError(
                    f"{row.where}: {key[0]} = {shown(key[1])} has another schema in {known.where}. "
                    "Keep one of them, or give both completions and schemas an id of their own."
                )

    def find(self, row: Row) -> Reference:
        """Return the schema of a completion.

        Raises:
            SpecError: There is none, or its prompt and its id name different ones.
        """
        keys = _keys(row)
        found = [self._by_key[key] for key in keys if key in self._by_key]
        if not found:
            tried = " and ".join(f"{name} = {shown(value)}" for name, value in keys)
            raise SpecError(
                f"{row.where}: {tried}: no such row in {self._path}. Add its schema there, or "
                "remove the completion."
            )
        if found[0].schema != found[-1].schema:
            raise SpecError(
                f"{row.where}: the id leads to the schema in {found[0].where}, the prompt to "
                f"another one in {found[-1].where}. Remove one of the two fields."
            )
        expected = found[0].columns.get("prompt")
        if len(found) < len(keys) and keys[0] in self._by_key and expected is not None:
            raise SpecError(
                f"{row.where}: {keys[0][0]} = {shown(keys[0][1])} is another prompt in "
                f"{found[0].where}, which begins {shown(expected)}. Name the file that has this "
                "prompt, or remove the wrong one of the fields 'prompt' and 'id'."
            )
        return found[0]


def read_references(path: Path) -> References:
    """Read a file of schemas and compile each once, so that errors are reported at once.

    Raises:
        SpecError: The file cannot be read, holds no row, or has a row that cannot be used.
    """
    references = References(path)
    row = None
    for row in read_rows(path):
        if "schema" not in row.values:
            raise SpecError(
                f"{row.where}: field 'schema' is missing, expected a JSON Schema. Completions of a "
                "task without schemas: strictune score COMPLETIONS --task SWEEP.yaml."
            )
        text = json.dumps(read_schema(row), separators=(",", ":"))
        columns = {name: value for name, value in row.values.items() if name != "schema"}
        references.add(row, Reference(text, row.where, columns))
    if row is None:
        raise SpecError(
            f"{path}: holds no row, expected one JSON object a line with the fields schema, and "
            "prompt or id."
        )
    return references


def _keys(row: Row) -> list[Key]:
    """Return the keys that a row is found by, the id first."""
    keys: list[Key] = []
    name = row.values.get("id")
    if name is not None:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise SpecError(f"{row.where}: id = {shown(name)}, expected text or a whole number.")
        keys.append(("id", name))
    prompt = row.values.get("prompt")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise SpecError(f"{row.where}: prompt = {shown(prompt)}, expected text.")
        keys.append(("prompt", prompt))
    if not keys:
        raise SpecError(
            f"{row.where}: the fields 'prompt' and 'id' are both missing, expected one of them. "
            "Completions and schemas are matched by it."
        )
    return keys
