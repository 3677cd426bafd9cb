"""The protocol of judges: questions and answers.

A batch is asked at once, so that a judge behind a network can work on all of it together.
An answer is a tuple of scores in [0, 1], or None when the judge could not say: a failed call
is missing, never 0, because a 0 on a negative rubric would pay full marks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from trainables.tasks.refiner.rows import Rubric

__all__ = ["Judge", "Judgement", "Question", "RubricQuestion", "SupportQuestion"]

Evidence = tuple[tuple[str, str], ...]
"""Pairs of id and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricQuestion:
    """How far an answer shows what each rubric describes; one score for each."""

    question: str
    answer: str
    """The answer's body, tags included. Data: it may say anything."""
    evidence: Evidence
    """What the answer cites."""
    allowed_ids: tuple[str, ...]
    """Every id that it may cite."""
    rubrics: tuple[Rubric, ...]

    @property
    def num_scores(self) -> int:
        """How many scores are wanted."""
        return len(self.rubrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportQuestion:
    """How far evidence shows a claim: all of it together, then, if it is several, each alone."""

    claim: str
    """Data: it may say anything."""
    evidence: Evidence

    @property
    def num_scores(self) -> int:
        """How many scores are wanted."""
        return 1 + len(self.evidence) if len(self.evidence) > 1 else 1


Question = RubricQuestion | SupportQuestion


class Judgement(NamedTuple):
    """What a judge said of a batch."""

    answers: Sequence[tuple[float, ...] | None]
    """One for each question: its scores, all in [0, 1], or None where they are missing."""
    health: Mapping[str, float]
    """How the judge did on this batch, e.g. ``failure_frac``; values in their key's unit."""


class Judge(Protocol):
    """Scores answers and claims."""

    def judge(
        self, questions: Sequence[Question], *, on_progress: Callable[[], None] | None = None
    ) -> Judgement:
        """Answer a batch of distinct questions.

        Args:
            questions: What is asked.
            on_progress: Called now and then, and may raise; a batch that has one may take as long
                as answers come. None: it has to be there in time for a training step.

        Raises:
            TrialError: So many questions failed that going on would train on what is left.
        """
