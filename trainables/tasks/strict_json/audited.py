"""Rows of recorded completions for an audit: criteria, rewards, symptoms and leakage.

They have the columns of ``samples.parquet``: ``criterion/...``, and as ``measure/...`` the rewards,
symptoms that no single criterion shows (``share/...``) and leakage (``in_training/...``).
Statistics are computed elsewhere.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError
from trainables.tasks.jsonl import read_rows
from trainables.tasks.strict_json.completion import Completion, parse_completion
from trainables.tasks.strict_json.recorded import SchemaScored, score_recorded
from trainables.tasks.strict_json.references import read_references
from trainables.tasks.strict_json.skeleton import family_of, subschemas
from trainables.tasks.strict_json.suites import embedded_schema

__all__ = ["Training", "audited_rows", "read_training"]


class Training(NamedTuple):
    """The prompts and schemas that a model was trained on."""

    prompts: frozenset[str]
    """Prompts, with case and white space normalized."""
    skeletons: frozenset[str] | None
    """Families of the schemas; None if the file has no schemas."""


def read_training(path: Path) -> Training:
    """Read a training file: ``prompt`` in each row, and ``schema`` in all or in none.

    Raises:
        SpecError: The file cannot be read, holds no row, or has a row that cannot be used.
    """
    prompts: set[str] = set()
    skeletons: set[str] = set()
    rows_with_schema = []
    num_rows = 0
    for row in read_rows(path):
        num_rows += 1
        prompts.add(_folded(row.text("prompt")))
        if "schema" in row.values:
            rows_with_schema.append(row.where)
            skeletons.add(_skeleton(json.dumps(embedded_schema(row)), row.where))
    if not num_rows:
        raise SpecError(
            f"{path}: holds no row, expected one JSON object a line with the field prompt, and "
            "schema where it is known."
        )
    if rows_with_schema and len(rows_with_schema) < num_rows:
        raise SpecError(
            f"{path}: {len(rows_with_schema)} of {num_rows} rows have a schema (the first is "
            f"{rows_with_schema[0]}), expected all or none. Shared skeletons would be missed."
        )
    return Training(frozenset(prompts), frozenset(skeletons) if rows_with_schema else None)


def audited_rows(
    completions: Path,
    schemas: Path,
    *,
    by: Sequence[str] = (),
    only: Mapping[str, Sequence[str]] | None = None,
    family: str | None = None,
    training: Training | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each completion that ``only`` keeps, in file order.

    Args:
        completions: File of completions, plain or gzip, as ``recorded`` reads them.
        schemas: File of their schemas, plain or gzip.
        by: Columns of either file that name the arm; they become ``arm/<column>``.
        only: For each column of either file, the values to keep.
        family: The column that holds the family. By default ``family`` where a file has it,
            else the schema's skeleton.
        training: The training data to look completions up in.

    Raises:
        SpecError: A file or a row cannot be used.
    """
    references = read_references(schemas)
    for scored in score_recorded(completions, references):
        if all(scored.group(column) in values for column, values in (only or {}).items()):
            yield {
                **{f"arm/{column}": scored.group(column) for column in by},
                **_facts(scored, family=family),
                **_leaks(scored, training),
            }


def _facts(scored: SchemaScored, *, family: str | None) -> dict[str, Any]:
    row, score = scored.row, scored.score
    read = parse_completion(
        row.values["completion"], think_prefilled=bool(row.values.get("think_prefilled"))
    )
    return {
        "prompt_id": scored.where,
        "family": _family(scored, family),
        "difficulty": scored.group("difficulty") if "difficulty" in scored.columns else "unknown",
        "is_thinking_asked": bool(row.values.get("thinking")),
        "is_thinking": score.is_thinking,
        "num_tokens": nan,
        "is_truncated": nan,
        **{
            f"criterion/{name}": nan if holds is None else float(holds)
            for name, holds in score.criteria.items()
        },
        "measure/num_characters": len(row.values["completion"]),
        "measure/num_values": _num_values(read.document) if read.is_read else nan,
        **{f"measure/reward/{name}": value for name, value in score.rewards.items()},
        **{f"measure/share/{name}": value for name, value in _symptoms(read, scored).items()},
    }


def _family(scored: SchemaScored, column: str | None) -> str:
    if column is not None or "family" in scored.columns:
        return scored.group(column or "family")
    return _skeleton(scored.schema, scored.where)


def _leaks(scored: SchemaScored, training: Training | None) -> dict[str, bool]:
    if training is None:
        return {}
    prompt = scored.columns.get("prompt")
    if prompt is None:
        raise SpecError(
            f"{scored.row.where}: field 'prompt' is missing here and in {scored.where}. "
            "Without it the completion cannot be looked up in the training file."
        )
    found = {"measure/in_training/prompt": _folded(prompt) in training.prompts}
    if training.skeletons is not None:
        skeleton = _skeleton(scored.schema, scored.where)
        found["measure/in_training/skeleton"] = skeleton in training.skeletons
    return found


def _symptoms(read: Completion, scored: SchemaScored) -> dict[str, float]:
    """Return 1 or 0 for each symptom, NaN if the completion cannot show it.

    ``empty_document``: it has no value, e.g. ``{}`` or ``{"items": []}``, and does not conform.
    ``array_left_out``: the schema mentions an array, and the document has none.
    """
    if not read.is_read:
        return {"empty_document": nan, "array_left_out": nan}
    is_empty = not _num_values(read.document)
    asks_for_array = _mentions_array(scored.schema)
    return {
        "empty_document": float(is_empty and not scored.score.criteria["conformant"]),
        "array_left_out": float(not _holds_array(read.document)) if asks_for_array else nan,
    }


def _num_values(document: object) -> int:
    """Count the values that are not containers."""
    return sum(not isinstance(value, (dict, list)) for value in _walk(document))


def _holds_array(document: object) -> bool:
    return any(isinstance(value, list) for value in _walk(document))


def _walk(document: object) -> Iterator[object]:
    """Yield all values of a document; iterative, since documents may be deep."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


@cache
def _mentions_array(schema: str) -> bool:
    waiting = [json.loads(schema)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            if node.get("type") == "array" or "items" in node or "prefixItems" in node:
                return True
            waiting.extend(child.schema for child in subschemas(node))
    return False


@cache
def _skeleton(schema: str, where: str) -> str:
    try:
        return family_of(json.loads(schema))
    except RecursionError:
        raise SpecError(f"{where}: schema is nested too deeply to be read.") from None


def _folded(prompt: str) -> str:
    return " ".join(prompt.casefold().split())
