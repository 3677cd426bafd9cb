"""Function calls of the Berkeley Function Calling Leaderboard, from the package ``bfcl-eval``.

A prompt is a user's question with the available functions; the answer is one call as JSON. Only
categories in which one call answers one question are read, without Java and JavaScript, whose
arguments name variables of a program, which JSON cannot express. Whether the call is the right one
is not judged: the suite asks for any call that its function accepts. The package is not imported,
so that it can be installed without its dependencies, which pin older versions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, read_rows
from trainables.tasks.strict_json.outside.candidates import Candidate, Dropped

__all__ = ["BFCL_PARTS", "bfcl_candidates"]

BFCL_PARTS = (
    "simple_python",
    "multiple",
    "live_simple",
    "live_multiple",
)
"""Names of the categories in the leaderboard."""

_REQUEST = """\
{question}

Answer with one function call: an object with the function's "name" and its "arguments". It must \
conform to this JSON Schema:"""

_TYPES: dict[str, str | None] = {
    "any": None,
    "array": "array",
    "boolean": "boolean",
    "dict": "object",
    "float": "number",
    "integer": "integer",
    "string": "string",
    "tuple": "array",
}
"""JSON Schema's name for each type of the leaderboard; None allows any value."""

_KEPT = ("description", "default", "enum", "format", "maximum", "required")
"""Keywords with the same meaning as in JSON Schema."""


class _UnknownTypeError(Exception):
    """A parameter has a type that the leaderboard does not document."""


def bfcl_candidates(folder: Path, parts: Sequence[str]) -> Iterator[Candidate | Dropped]:
    """Yield the questions of some categories, in the order of their files.

    Args:
        folder: The folder of the installed package.
        parts: Some of ``BFCL_PARTS``.

    Raises:
        SpecError: A category's file is missing or is not JSONL.
    """
    for part in parts:
        paths = sorted((folder / "data").glob(f"BFCL_v[0-9]_{part}.json"))
        if not paths:
            raise SpecError(
                f"suite bfcl-eval: there is no file BFCL_v4_{part}.json in {folder / 'data'}, "
                "expected the data of bfcl-eval 2026.3."
            )
        for row in read_rows(paths[-1]):
            yield _candidate(row)


def _candidate(row: Row) -> Candidate | Dropped:
    try:
        turns, functions = row.values["question"], row.values["function"]
        if len(turns) != 1:
            return Dropped("question of several turns")
        question = "\n\n".join(message["content"] for message in turns[0])
        calls = [_call_schema(function) for function in functions]
    except _UnknownTypeError:
        return Dropped("parameter of an unknown type")
    except (LookupError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{row.where}: found {json.dumps(row.values)[:80]}..., expected the fields question "
            "and function of bfcl-eval 2026.3."
        ) from error
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return Candidate(row.text("id"), _REQUEST.format(question=question), schema)


def _call_schema(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a call; it allows no arguments but the function's own."""
    arguments = _schema(function["parameters"]) | {"additionalProperties": False}
    return {
        "type": "object",
        "description": function["description"],
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _schema(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one declared value."""
    name = declared.get("type", "any")
    if name not in _TYPES:
        raise _UnknownTypeError(name)
    schema: dict[str, Any] = {} if _TYPES[name] is None else {"type": _TYPES[name]}
    schema |= {keyword: declared[keyword] for keyword in _KEPT if keyword in declared}
    if "properties" in declared:
        properties = declared["properties"]
        schema["properties"] = {key: _schema(value) for key, value in properties.items()}
    if "items" in declared:
        schema["items"] = _schema(declared["items"])
    return schema
