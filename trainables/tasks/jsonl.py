"""Reads JSON Lines files, plain or gzip; each row knows its place for error messages.

Rows are read one by one, so a file may be larger than memory. This module checks what all such
files have in common; callers interpret the columns.
"""

import difflib
import gzip
import json
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from strictune.errors import SpecError
from trainables.tasks.task import Message

__all__ = ["Row", "error_line", "read_rows", "shown"]

_GZIP_MAGIC = b"\x1f\x8b"
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_SHOWN_CHARS = 60
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object of a file."""

    where: str
    """``<file>:<line>``, for messages."""
    values: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return the value of a column that must hold text.

        Raises:
            SpecError: It is missing, empty, not text, or cannot be encoded as UTF-8.
        """
        if column not in self.values:
            raise SpecError(f"{self.where}: field {column!r} is missing, expected text.")
        text = self.values[column]
        if not isinstance(text, str) or not text.strip():
            raise SpecError(
                f"{self.where}: {column} = {shown(text)}, expected text that is not empty."
            )
        if _HALF_PAIR.search(text):
            raise SpecError(
                f"{self.where}: {column} holds half of a surrogate pair, which is not valid text."
            )
        return text

    def optional_text(self, column: str) -> str | None:
        """Return the text of a column, or None if it is missing or null."""
        return self.text(column) if self.values.get(column) is not None else None

    def messages(self, column: str) -> tuple[Message, ...]:
        """Return a column that must hold chat messages, the last one from the user.

        Raises:
            SpecError: It is not such a list.
        """
        given = self.values.get(column)
        if not isinstance(given, list | tuple) or not given:
            raise SpecError(
                f"{self.where}: {column} = {shown(given)}, expected a list of chat messages."
            )
        messages = []
        for index, message in enumerate(given):
            where = f"{self.where}: {column}.{index}"
            if not isinstance(message, Mapping):
                raise SpecError(
                    f"{where} = {shown(message)}, expected an object of role and content."
                )
            role, content = message.get("role"), message.get("content")
            if role not in _ROLES:
                raise SpecError(
                    f"{where}.role = {shown(role)}, expected one of {', '.join(_ROLES)}. Put the "
                    "output of tools into a user message."
                )
            if not isinstance(content, str) or not content.strip():
                raise SpecError(
                    f"{where}.content = {shown(content)}, expected text that is not empty."
                )
            messages.append(Message(role=role, content=content))
        if messages[-1]["role"] != "user":
            raise SpecError(
                f"{self.where}: {column} ends with the role {messages[-1]['role']}, expected user: "
                "the model answers the last message."
            )
        return tuple(messages)

    def refuse_misspelt(self, columns: Sequence[str], *, cutoff: float) -> None:
        """Raise an error if a field looks like a misspelt name of a column that the row lacks.

        Args:
            columns: The columns that are read.
            cutoff: The minimum similarity of names, as in ``difflib.get_close_matches``.

        Raises:
            SpecError: There is such a field.
        """
        for column in self.values.keys() - set(columns):
            close = difflib.get_close_matches(column, columns, n=1, cutoff=cutoff)
            if close and close[0] not in self.values:
                raise SpecError(
                    f"{self.where}: unknown field {shown(column)}, did you mean {close[0]!r}?"
                )


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order, skipping blank lines.

    Raises:
        SpecError: The file cannot be read, or a line is not a JSON object.
    """
    try:
        with path.open("rb") as raw:
            is_gzip = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            # Only line feeds end a row: JSON strings may hold other line separators.
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _row(line, f"{path}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"{path}: cannot be read ({error}).") from error


def shown(value: object) -> str:
    """Format a value for a message: as JSON, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def error_line(error: BaseException) -> str:
    """Format an exception from other code for a message: its type and first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _row(line: bytes, where: str) -> Row:
    try:
        text = line.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{where}: cannot be read as UTF-8 text ({error}). Save the file as UTF-8."
        ) from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where}: is not JSON ({error}), expected one object a line.") from error
    if not isinstance(values, dict):
        raise SpecError(f"{where}: found {shown(values)}, expected a JSON object.")
    return Row(where, values)
