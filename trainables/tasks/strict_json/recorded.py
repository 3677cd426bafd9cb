"""Scores completions that were recorded elsewhere; no model is needed.

A completion is a row with ``completion``, ``prompt`` or ``id``, and optionally ``thinking``
and ``think_prefilled`` (both false where missing). Its schema is found as ``references`` says.
Completions are read, scored and written one by one, so their file may be of any size.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError, StorageError
from strictune.records import replacing
from trainables.tasks.jsonl import Row, read_rows, shown
from trainables.tasks.strict_json.references import Reference, References, read_references
from trainables.tasks.strict_json.rewards import REWARDS
from trainables.tasks.strict_json.rungs import RUNGS
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.task import Score

__all__ = ["RecordedScores", "ScoredCompletion", "Tally", "score_file", "score_recorded"]

_COLUMNS = ("completion", "prompt", "id", "thinking", "think_prefilled")
# Recordings carry columns of their own: only a slip of the keys counts as misspelt.
_MISSPELT_CUTOFF = 0.9


class ScoredCompletion(NamedTuple):
    """One recorded completion with its score."""

    row: Row
    reference: Reference
    score: Score
    total: float
    """Rewards under the published weights of the completion's mode."""

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the completion, then those that only its schema's row has."""
        return {**self.row.values, **self.reference.columns, **self.row.values}

    def document(self) -> dict[str, Any]:
        """Return the row of ``--rows``."""
        return {
            **{name: self.row.values[name] for name in ("id",) if name in self.row.values},
            "rungs": dict(self.score.rungs),
            "rewards": dict(self.score.rewards),
            "total": self.total,
            "error_class": self.score.error_class,
            "error_path": self.score.error_path,
            "reasons": dict(self.score.reasons),
        }

    def group(self, column: str) -> str:
        """Return the value of a column of the completion, else of its schema's row.

        Half of a surrogate pair, which no output can write, is shown as its escape.

        Raises:
            SpecError: Neither has it.
        """
        if column not in self.columns:
            raise SpecError(
                f"{self.row.where}: field {column!r} is missing, and in {self.reference.where} "
                f"too. Break down by one of {', '.join(self.columns)}."
            )
        value = self.columns[column]
        text = value if isinstance(value, str) else json.dumps(value)
        return text.encode("utf-8", "backslashreplace").decode()


@dataclass(slots=True)
class Tally:
    """What many scores add up to."""

    num_completions: int = 0
    rungs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RUNGS, 0))
    """Completions on each rung."""
    rewards: dict[str, float] = field(default_factory=lambda: dict.fromkeys(REWARDS, 0.0))
    """Sums of the raw rewards."""

    def add(self, score: Score) -> None:
        """Count one completion."""
        self.num_completions += 1
        for name, holds in score.rungs.items():
            self.rungs[name] += holds
        for name, value in score.rewards.items():
            self.rewards[name] += value

    def document(self) -> dict[str, Any]:
        """Return counts of the rungs and means of the rewards."""
        return {
            "num_completions": self.num_completions,
            "rungs": dict(self.rungs),
            "rewards": {name: value / self.num_completions for name, value in self.rewards.items()},
        }


@dataclass(frozen=True, slots=True)
class RecordedScores:
    """A file's figures."""

    all: Tally
    by_group: Mapping[str, Tally]
    """For each value of the column asked for, in order of appearance."""


def score_recorded(path: Path, references: References) -> Iterator[ScoredCompletion]:
    """Yield the completions of a file with their scores, in file order.

    Raises:
        SpecError: The file cannot be read, or a row cannot be scored; the message names file,
            line and field.
    """
    scorer = Scorer()
    defaults = StrictJsonSettings().default_weights
    weights = {thinking: defaults(thinking) for thinking in (False, True)}
    columns: Set[str] = frozenset()
    for row in read_rows(path):
        if row.values.keys() != columns:
            row.refuse_misspelt(_COLUMNS, cutoff=_MISSPELT_CUTOFF)
            columns = row.values.keys()
        reference = references.find(row)
        thinking = _flag(row, "thinking")
        score = scorer.score(
            _completion(row),
            reference.schema,
            thinking=thinking,
            think_prefilled=_flag(row, "think_prefilled"),
        )
        total = sum(weights[thinking][name] * value for name, value in score.rewards.items())
        yield ScoredCompletion(row, reference, score, total)


def score_file(
    completions: Path, schemas: Path, *, by: str | None = None, rows: Path | None = None
) -> RecordedScores:
    """Score a file of completions.

    Args:
        completions: The completions, plain or gzip.
        schemas: Their schemas, plain or gzip.
        by: A column to break the figures down by.
        rows: Where one line for each completion goes; replaced when all are scored.

    Raises:
        SpecError: A file or a row cannot be used; ``rows`` is then left as it was.
        StorageError: ``rows`` cannot be written.
    """
    total = Tally()
    groups: dict[str, Tally] = {}
    _refuse_overwriting(rows, (completions, schemas))
    references = read_references(schemas)
    with _line_writer(rows) as write:
        for scored in score_recorded(completions, references):
            total.add(scored.score)
            if by is not None:
                groups.setdefault(scored.group(by), Tally()).add(scored.score)
            write(scored)
        if not total.num_completions:
            raise SpecError(
                f"{completions}: holds no row, expected one JSON object a line with the fields "
                "completion, and prompt or id."
            )
    return RecordedScores(total, groups)


def _completion(row: Row) -> str:
    if "completion" not in row.values:
        raise SpecError(f"{row.where}: field 'completion' is missing, expected text.")
    text = row.values["completion"]
    if not isinstance(text, str):
        raise SpecError(f"{row.where}: completion = {shown(text)}, expected text.")
    return text


def _flag(row: Row, column: str) -> bool:
    value = row.values.get(column)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise SpecError(f"{row.where}: {column} = {shown(value)}, expected true or false.")
    return value


def _refuse_overwriting(rows: Path | None, inputs: tuple[Path, ...]) -> None:
    for path in inputs:
        if rows is not None and rows.resolve() == path.resolve():
            raise StorageError(f"{rows}: is read as input. Choose another file for the rows.")


@contextmanager
def _line_writer(path: Path | None) -> Iterator[Callable[[ScoredCompletion], object]]:
    """Yield what writes a line; the file appears when all went well, as a whole."""
    if path is None:
        yield lambda scored: None
        return
    try:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
            yield lambda scored: handle.write(json.dumps(scored.document()) + "\n")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error}).") from error
