"""Reads, scores and counts recorded completions; no model is needed.

A row holds ``completion``, ``prompt`` or ``id``, and optionally ``thinking`` and
``think_prefilled`` (false by default). Scored rows are written one by one, so a file may be of any
size.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from strictune.errors import SpecError, StorageError
from strictune.records import replacing
from trainables.tasks.checking import checked_scores
from trainables.tasks.jsonl import Row, read_rows, shown
from trainables.tasks.splits import prompt_text
from trainables.tasks.task import SPLITS, Attempt, Prompt, Score, Task

__all__ = [
    "Recorded",
    "RecordedScores",
    "ScoredCompletion",
    "Tally",
    "add_up",
    "read_recorded",
    "score_with_task",
]

_COLUMNS = ("completion", "prompt", "id", "thinking", "think_prefilled")
# Recordings have columns of their own: only near-identical names count as misspelt.
_MISSPELT_CUTOFF = 0.9
_BATCH_ROWS = 64

Key = tuple[str, str]
"""``("id", id)`` or ``("prompt", text)``."""


class Recorded(NamedTuple):
    """One recorded completion."""

    row: Row
    completion: str
    thinking: bool
    think_prefilled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCompletion:
    """One recorded completion with its score."""

    row: Row
    where: str
    """The place of the schema or prompt that it is scored against, for messages."""
    others: Mapping[str, Any]
    """The other columns found there."""
    score: Score
    weights: Mapping[str, float]
    """Of the reward components, in the completion's mode."""

    @property
    def total(self) -> float | None:
        """The weighted sum of its rewards; None where it has none."""
        rewards = self.score.rewards
        return sum(self.weights[name] * rewards[name] for name in rewards) if rewards else None

    @property
    def columns(self) -> dict[str, Any]:
        """The completion's columns, then those that only its schema or prompt has."""
        return {**self.row.values, **self.others, **self.row.values}

    def document(self) -> dict[str, Any]:
        """Return the row that ``--rows`` writes."""
        return {
            **{name: self.row.values[name] for name in ("id",) if name in self.row.values},
            "criteria": dict(self.score.criteria),
            "rewards": dict(self.score.rewards),
            "total": self.total,
            "error_class": self.score.error_class,
            "error_path": self.score.error_path,
            "reasons": dict(self.score.reasons),
        }

    def group(self, column: str) -> str:
        """Return the value of a column of the completion, or else of its schema or prompt.

        Half of a surrogate pair, which cannot be written as UTF-8, is escaped.

        Raises:
            SpecError: Neither has the column.
        """
        if column not in self.columns:
            raise SpecError(
                f"{self.row.where}: field {column!r} is missing here and in {self.where}. Break "
                f"down by one of {', '.join(self.columns)}."
            )
        value = self.columns[column]
        text = value if isinstance(value, str) else json.dumps(value)
        return text.encode("utf-8", "backslashreplace").decode()


@dataclass(slots=True)
class Tally:
    """Sums over many scores; values that could not be measured are left out of means."""

    num_completions: int = 0
    num_missing: int = 0
    """Completions with a score that could not be measured."""
    criteria: dict[str, int] = field(default_factory=dict)
    """The number of completions that meet each criterion."""
    rewards: dict[str, list[float]] = field(default_factory=dict)
    """The raw rewards of each component."""
    totals: list[float] = field(default_factory=list)
    """Their weighted sums."""

    def add(self, scored: ScoredCompletion) -> None:
        """Count one completion."""
        score = scored.score
        self.num_completions += 1
        self.num_missing += score.is_missing
        for name, holds in score.criteria.items():
            self.criteria[name] += holds
        for name, value in score.rewards.items():
            self.rewards[name].append(value)
        if scored.total is not None:
            self.totals.append(scored.total)

    def document(self) -> dict[str, Any]:
        """Return criterion counts and mean rewards, null where nothing was measured."""
        return {
            "num_completions": self.num_completions,
            **({"num_missing": self.num_missing} if self.num_missing else {}),
            "criteria": dict(self.criteria),
            "rewards": {name: _mean(values) for name, values in self.rewards.items()},
            "total": _mean(self.totals),
        }


@dataclass(frozen=True, slots=True)
class RecordedScores:
    """The totals of a file of completions."""

    all: Tally
    by_group: Mapping[str, Tally]
    """One tally for each value of the column ``by``, in order of appearance."""


def read_recorded(path: Path) -> Iterator[Recorded]:
    """Yield the completions of a file, in its order.

    Raises:
        SpecError: The file cannot be read, or a row is not a recorded completion.
    """
    columns: Set[str] = frozenset()
    for row in read_rows(path):
        if row.values.keys() != columns:
            row.refuse_misspelt(_COLUMNS, cutoff=_MISSPELT_CUTOFF)
            columns = row.values.keys()
        yield Recorded(row, _completion(row), _flag(row, "thinking"), _flag(row, "think_prefilled"))


def score_with_task(
    path: Path, task: Task, weights: Callable[[bool], Mapping[str, float]]
) -> Iterator[ScoredCompletion]:
    """Yield the completions of a file, scored by the task whose prompts they answer.

    Args:
        path: The file.
        task: Whose prompts they answer.
        weights: Gives those of the reward components, with thinking or without.

    Raises:
        SpecError: The file cannot be read, a completion answers none of the task's prompts, or
            the task gave what is no score.
        TrialError: The task cannot score them.
    """
    known: dict[Key, list[Prompt]] = {}
    for split in SPLITS:
        for prompt in task.prompts(split):
            for key in (("id", prompt.id), ("prompt", prompt.text)):
                known.setdefault(key, []).append(prompt)
    by_mode = groupby(read_recorded(path), key=lambda recorded: recorded.thinking)
    for thinking, recorded in by_mode:
        while batch := list(islice(recorded, _BATCH_ROWS)):
            prompts = [_prompt_of(one.row, known, task) for one in batch]
            yield from _scored(batch, prompts, task, thinking=thinking, weights=weights(thinking))


def add_up(
    scored: Iterable[ScoredCompletion],
    *,
    criteria: Sequence[str],
    components: Sequence[str],
    inputs: Sequence[Path],
    by: str | None = None,
    rows: Path | None = None,
) -> RecordedScores:
    """Count scored completions.

    Args:
        scored: The completions.
        criteria: The task's criteria.
        components: The task's reward components.
        inputs: The files that were read, the completions first.
        by: A column to break the totals down by.
        rows: Output file with one line for each completion; replaced when all are scored.

    Raises:
        SpecError: There are no completions; ``rows`` is then not changed.
        StorageError: ``rows`` cannot be written, or is one of the inputs.
    """

    def tally() -> Tally:
        return Tally(criteria=dict.fromkeys(criteria, 0), rewards={name: [] for name in components})

    total = tally()
    groups: dict[str, Tally] = {}
    _refuse_overwriting(rows, inputs)
    with _line_writer(rows) as write:
        for one in scored:
            total.add(one)
            if by is not None:
                groups.setdefault(one.group(by), tally()).add(one)
            write(one)
        if not total.num_completions:
            raise SpecError(
                f"{inputs[0]}: holds no row, expected one JSON object a line with the fields "
                "completion, and prompt or id."
            )
    return RecordedScores(total, groups)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _scored(
    batch: Sequence[Recorded],
    prompts: Sequence[Prompt],
    task: Task,
    *,
    thinking: bool,
    weights: Mapping[str, float],
) -> Iterator[ScoredCompletion]:
    attempts = [
        Attempt(one.completion, prompt, False, one.think_prefilled)
        for one, prompt in zip(batch, prompts, strict=True)
    ]
    scores = checked_scores(task, attempts, thinking=thinking, purpose="evaluation")
    for one, prompt, score in zip(batch, prompts, scores, strict=True):
        yield ScoredCompletion(
            row=one.row,
            where=f"prompt {prompt.id}",
            others={"family": prompt.family, "difficulty": prompt.difficulty},
            score=score,
            weights=weights,
        )


def _prompt_of(row: Row, known: Mapping[Key, Sequence[Prompt]], task: Task) -> Prompt:
    given = {
        name: row.values[name] for name in ("id", "prompt") if row.values.get(name) is not None
    }
    if not given:
        raise SpecError(
            f"{row.where}: the fields 'prompt' and 'id' are both missing, expected one of them: "
            f"it says which prompt of task {task.kind} is answered."
        )
    keys = {name: str(value) for name, value in given.items()}
    if "prompt" in keys:
        keys["prompt"] = prompt_text(row, "prompt")
    found = next((known[key] for key in keys.items() if key in known), None)
    if found is None:
        tried = " and ".join(f"{name} = {shown(text)}" for name, text in keys.items())
        raise SpecError(
            f"{row.where}: {tried}: task {task.kind} has no such prompt. Remove the completion, or "
            "name the sweep file that has its prompt."
        )
    asked = [one for one in found if one.text == keys.get("prompt", one.text)]
    if not asked:
        raise SpecError(
            f"{row.where}: id = {shown(given['id'])} is another prompt of task {task.kind}, which "
            f"begins {shown(found[0].text)}. Name the sweep file that has this prompt, or remove "
            "the wrong one of the fields 'prompt' and 'id'."
        )
    if any(one.columns != asked[0].columns for one in asked):
        name, text = next(iter(keys.items()))
        raise SpecError(
            f"{row.where}: {name} = {shown(text)} is {len(asked)} prompts of task {task.kind} "
            f"that are scored differently, {shown([one.id for one in asked])}. Say which one is "
            f"answered in the field {'id' if name == 'prompt' else 'prompt'!r}."
        )
    return asked[0]


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


def _refuse_overwriting(rows: Path | None, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if rows is not None and rows.resolve() == path.resolve():
            raise StorageError(f"{rows}: is read as input. Choose another file for the rows.")


@contextmanager
def _line_writer(path: Path | None) -> Iterator[Callable[[ScoredCompletion], object]]:
    """Yield a function that writes a line; the file is replaced only if all goes well."""
    if path is None:
        yield lambda scored: None
        return
    try:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
            yield lambda scored: handle.write(json.dumps(scored.document()) + "\n")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error}).") from error
