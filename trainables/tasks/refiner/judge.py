"""The protocol of judges: questions in, scores out.

A batch is asked at once, so that a judge behind a network can answer its questions in parallel. An
answer is a tuple of scores in [0, 1], or None if the judge could not give them: a failed call is
missing, never 0, because 0 on a negative rubric would earn the full reward.
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
    """Asks how far an answer shows what each rubric describes; one score for each rubric."""

    question: str
    answer: str
    """The answer's body, tags included; untrusted text."""
    evidence: Evidence
    """The evidence that the answer cites."""
    allowed_ids: tuple[str, ...]
    """All ids that the answer may cite."""
    rubrics: tuple[Rubric, ...]

    @property
    def num_scores(self) -> int:
        """The number of scores that an answer to this question has."""
        return len(self.rubrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportQuestion:
    """Asks how far evidence supports a claim: all of it together, then each piece if several."""

    claim: str
    """The claim; untrusted text."""
    evidence: Evidence

    @property
    def num_scores(self) -> int:
        """The number of scores that an answer to this question has."""
        return 1 + len(self.evidence) if len(self.evidence) > 1 else 1


Question = RubricQuestion | SupportQuestion


class Judgement(NamedTuple):
    """A judge's answers to a batch."""

    answers: Sequence[tuple[float, ...] | None]
    """For each question its scores, all in [0, 1], or None if they are missing."""
    health: Mapping[str, float]
    """Metrics of the judge in this batch, e.g. ``failure_frac``."""


class Judge(Protocol):
    """A scorer of answers and claims."""

    def judge(
        self, questions: Sequence[Question], *, on_progress: Callable[[], None] | None = None
    ) -> Judgement:
        """Answer a batch of distinct questions.

        Args:
            questions: The questions.
            on_progress: Called from time to time, and may raise. If given, the batch may take as
                long as answers arrive; if None, it must end in time for a training step.

        Raises:
            TrialError: So many questions failed that the remaining scores would be biased.
        """
