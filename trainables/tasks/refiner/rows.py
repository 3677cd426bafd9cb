"""One row of refiner data: the question, the evidence, and the rubrics of a good answer.

A row comes from a file or a generator, is checked once, and is passed to scoring as one JSON text,
so that it is the same in every process. Evidence comes from the prompt only: nothing that a model
writes can add to it.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

from strictune.errors import SpecError
from trainables.tasks.jsonl import Row, shown
from trainables.tasks.refiner.markup import snippets_in
from trainables.tasks.task import Message

__all__ = ["COLUMNS", "RefinerRow", "Rubric", "check_row", "row_from_column", "row_to_column"]

COLUMNS = (
    "id",
    "question",
    "evidence",
    "positive_rubrics",
    "negative_rubrics",
    "messages",
    "reasoning",
    "source",
    "is_answerable",
)
"""The fields that a row of a file may have."""

_FORBIDDEN_IN_IDS = frozenset(",<>\"'")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_CHARS_BEFORE = 20
_MISSPELT_CUTOFF = 0.8
_CACHED_ROWS = 4096


class Rubric(NamedTuple):
    """One property of an answer that a judge looks for."""

    title: str
    description: str
    weight: float = 1.0
    """Weight in the mean, relative to the row's other rubrics; above 0."""
    is_negative: bool = False
    """Whether the property is a fault; it then counts as one minus the judge's score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerRow:
    """One checked row."""

    id: str
    question: str
    evidence: Mapping[str, str]
    """The texts that the agent found, by the id that answers cite."""
    rubrics: tuple[Rubric, ...]
    """Positive ones first."""
    messages: tuple[Message, ...] = ()
    """The prompt as given; if empty, it is written from question, reasoning and evidence."""
    reasoning: str = ""
    """The agent's reasoning."""
    source: str
    """Rows of one source are alike: standard errors are clustered by source."""
    is_answerable: bool = True
    """Whether the evidence answers the question; if not, a good answer says so."""


def check_row(row: Row) -> RefinerRow:
    """Check one row of a file.

    Raises:
        SpecError: A field is missing or cannot be used; the message names row and field.
    """
    row.refuse_misspelt(COLUMNS, cutoff=_MISSPELT_CUTOFF)
    for column in COLUMNS:
        _refuse_half_characters(f"{row.where}: {column}", row.values.get(column))
    messages = () if row.values.get("messages") is None else row.messages("messages")
    evidence = _evidence(row, messages)
    positive = _rubrics(row, "positive_rubrics", is_negative=False)
    negative = _rubrics(row, "negative_rubrics", is_negative=True)
    if not positive and not negative:
        raise SpecError(
            f"{row.where}: positive_rubrics and negative_rubrics are both empty, expected at "
            "least one rubric."
        )
    is_answerable = row.values.get("is_answerable")
    if is_answerable not in (None, True, False):
        raise SpecError(
            f"{row.where}: is_answerable = {shown(is_answerable)}, expected true or false."
        )
    row_id = row.text("id")
    return RefinerRow(
        id=row_id,
        question=row.text("question"),
        evidence=evidence,
        rubrics=(*positive, *negative),
        messages=messages,
        reasoning=row.optional_text("reasoning") or "",
        source=row.optional_text("source") or row_id,
        is_answerable=is_answerable is not False,
    )


def row_to_column(row: RefinerRow) -> str:
    """Return a row as the JSON text that scoring reads."""
    fields = {name: getattr(row, name) for name in row.__slots__}
    fields["evidence"] = dict(row.evidence)
    return json.dumps(fields, ensure_ascii=False)


@lru_cache(maxsize=_CACHED_ROWS)
def row_from_column(text: str) -> RefinerRow:
    """Read back what ``row_to_column`` wrote."""
    fields = json.loads(text)
    fields["rubrics"] = tuple(Rubric(*values) for values in fields["rubrics"])
    fields["messages"] = tuple(fields["messages"])
    return RefinerRow(**fields)


def _refuse_half_characters(where: str, value: object) -> None:
    """Raise an error for text that UTF-8 cannot encode, at any depth."""
    found = [(where, value)]
    for place, part in found:
        if isinstance(part, str) and (half := _HALF_CHARACTER.search(part)):
            near = part[max(0, half.start() - _CHARS_BEFORE) : half.end()]
            raise SpecError(
                f"{place} holds half of a surrogate pair, which is not valid text (at the end of "
                f"{shown(near)}). Cut texts between characters, not within one."
            )
        if isinstance(part, Mapping):
            found += [(f"{place}: the key {shown(key)}", key) for key in part]
            found += [(f"{place}.{key}", member) for key, member in part.items()]
        elif _is_list(part):
            items = enumerate(cast(Sequence[object], part))
            found += [(f"{place}.{index}", item) for index, item in items]


def _evidence(row: Row, messages: Sequence[Message]) -> dict[str, str]:
    """Return a row's evidence, or the texts in snippet tags of its messages."""
    given = row.values.get("evidence")
    if given is None:
        if not messages:
            raise SpecError(f"{row.where}: field 'evidence' is missing, expected {{id: text}}.")
        found = {
            cited: snippet.text.strip()
            for message in messages
            for snippet in snippets_in(message["content"]).snippets
            for cited in snippet.ids
        }
        if not found:
            raise SpecError(
                f"{row.where}: field 'evidence' is missing and messages hold no "
                "<snippet id=...>text</snippet> to read it from. Give either."
            )
        return found
    pairs = _evidence_pairs(row, given)
    evidence: dict[str, str] = {}
    for evidence_id, text in pairs:
        _check_id(row, evidence_id)
        if evidence_id in evidence:
            raise SpecError(
                f"{row.where}: evidence holds the id {evidence_id!r} twice. Give each text an id "
                "of its own."
            )
        evidence[evidence_id] = _nested_text(
            {evidence_id: text}, evidence_id, f"{row.where}: evidence"
        )
    return evidence


def _evidence_pairs(row: Row, given: object) -> list[tuple[str, object]]:
    if isinstance(given, Mapping):
        # Parquet gives every row the ids of all rows, and null for those of other rows.
        return [(str(key), text) for key, text in given.items() if text is not None]
    if not _is_list(given):
        raise SpecError(
            f"{row.where}: evidence = {shown(given)}, expected {{id: text}} or a list of objects "
            "of id and text."
        )
    pairs = []
    for index, item in enumerate(cast(Sequence[Any], given)):
        if not isinstance(item, Mapping) or "id" not in item or "text" not in item:
            raise SpecError(
                f"{row.where}: evidence.{index} = {shown(item)}, expected an object of id and text."
            )
        pairs.append((str(item["id"]), item["text"]))
    return pairs


def _check_id(row: Row, evidence_id: str) -> None:
    if (
        not evidence_id
        or evidence_id != evidence_id.strip()
        or not _FORBIDDEN_IN_IDS.isdisjoint(evidence_id)
    ):
        signs = " ".join(sorted(_FORBIDDEN_IN_IDS))
        raise SpecError(
            f"{row.where}: evidence holds the id {shown(evidence_id)}, which no answer can cite. "
            f"Ids have no white space around them and none of {signs} in them."
        )


def _rubrics(row: Row, column: str, *, is_negative: bool) -> tuple[Rubric, ...]:
    given = row.values.get(column)
    if given is None:
        return ()
    if not _is_list(given):
        raise SpecError(
            f"{row.where}: {column} = {shown(given)}, expected a list of objects of title, "
            "description and, if wanted, weight."
        )
    rubrics = []
    for index, item in enumerate(given):
        where = f"{row.where}: {column}.{index}"
        if not isinstance(item, Mapping):
            raise SpecError(
                f"{where} = {shown(item)}, expected an object of title and description."
            )
        weight = item.get("weight")
        weight = 1.0 if weight is None else weight
        if not _is_number(weight) or not (math.isfinite(weight) and weight > 0):
            raise SpecError(f"{where}.weight = {shown(weight)}, expected a number above 0.")
        title, description = (_nested_text(item, name, where) for name in ("title", "description"))
        rubrics.append(Rubric(title, description, float(weight), is_negative))
    return tuple(rubrics)


def _nested_text(values: Mapping[str, object], name: str, where: str) -> str:
    text = values.get(name)
    if not isinstance(text, str) or not text.strip():
        raise SpecError(f"{where}.{name} = {shown(text)}, expected text that is not empty.")
    return text


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
