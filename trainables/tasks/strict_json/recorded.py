"""Scores recorded completions against schemas from a file, see ``references``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.tasks.recorded import RecordedScores, ScoredCompletion, add_up, read_recorded
from trainables.tasks.strict_json.criteria import CRITERIA
from trainables.tasks.strict_json.references import References, read_references
from trainables.tasks.strict_json.rewards import REWARDS
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings

__all__ = ["SchemaScored", "score_file", "score_recorded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaScored(ScoredCompletion):
    """One recorded completion, scored against a schema."""

    schema: str
    """The schema as JSON text."""


def score_recorded(path: Path, references: References) -> Iterator[SchemaScored]:
    """Yield the completions of a file with their scores, in file order.

    Raises:
        SpecError: The file cannot be read, or a row cannot be scored; the message names file,
            line and field.
    """
    scorer = Scorer()
    defaults = StrictJsonSettings().default_weights
    weights = {thinking: defaults(thinking) for thinking in (False, True)}
    for row, completion, thinking, think_prefilled in read_recorded(path):
        reference = references.find(row)
        score = scorer.score(
            completion, reference.schema, thinking=thinking, think_prefilled=think_prefilled
        )
        yield SchemaScored(
            row=row,
            where=reference.where,
            others=reference.columns,
            score=score,
            weights=weights[thinking],
            schema=reference.schema,
        )


def score_file(
    completions: Path, schemas: Path, *, by: str | None = None, rows: Path | None = None
) -> RecordedScores:
    """Score a file of completions; see ``recorded.add_up``.

    Raises:
        SpecError: A file or a row cannot be used; ``rows`` is then not changed.
        StorageError: ``rows`` cannot be written.
    """
    return add_up(
        score_recorded(completions, read_references(schemas)),
        criteria=CRITERIA,
        components=list(REWARDS),
        inputs=(completions, schemas),
        by=by,
        rows=rows,
    )
