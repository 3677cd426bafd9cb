"""Turns completions into rewards, criteria and measures, with one batch of judge questions.

    reward = scale x (rubric mean + citation weight x citation F1)

A completion without an answer earns 0 before negative rubrics are inverted, and so does one that
says that nothing is known although the evidence answers: on negative rubrics alone, saying nothing
would earn nearly the full reward. If the judge could not give a score, the reward is missing; a
completion that needs no judge always has a reward.

Criteria, each implying the one before: ``answered`` (exactly one answer block, which is not empty),
``cited`` (its tags are well formed, and every claim cites only ids of the evidence, or it rightly
says that nothing is known), ``supported`` (citation F1 reaches its threshold), ``satisfied`` (the
rubric mean reaches its threshold). The first two need no judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainables.tasks.refiner.answer import Answer, Reading, read_answer
from trainables.tasks.refiner.data import ROW_COLUMN
from trainables.tasks.refiner.judge import Judge, Question, RubricQuestion, SupportQuestion
from trainables.tasks.refiner.rewards import (
    CitationScore,
    Support,
    active_rubrics,
    checkable_claims,
    citation_score,
    known_ids,
    rubric_mean,
)
from trainables.tasks.refiner.rows import RefinerRow, Rubric, row_from_column
from trainables.tasks.refiner.settings import COMPONENT, RewardSettings
from trainables.tasks.refiner.shown import shown_details
from trainables.tasks.task import Attempt, BatchScore, Purpose, Score

__all__ = ["Marks", "RefinerScorer"]

MIN_THOUGHT_CHARS = 10
"""The fewest characters that make a think block real."""

Answers = dict[Question, tuple[float, ...] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The thresholds of the two upper criteria."""

    rubric_mean: float
    citation_f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerScorer:
    """Scores batches with one judge."""

    judge: Judge
    rewards: RewardSettings
    marks: Marks
    asks_each_rubric: bool
    """Whether each rubric is a question of its own, or one question covers all of an answer."""

    def score_batch(
        self,
        attempts: Sequence[Attempt],
        *,
        purpose: Purpose,
        on_progress: Callable[[], None] | None = None,
    ) -> BatchScore:
        """Score completions; the judge is asked each distinct question once.

        Args:
            attempts: The completions.
            purpose: Whether the scores are for training or for an evaluation.
            on_progress: See ``Judge.judge``.

        Raises:
            TrialError: The judge failed too often.
        """
        drafts = [self._draft(attempt, purpose) for attempt in attempts]
        asked: Answers = {question: None for draft in drafts for question in draft.questions}
        answers: Answers = {}
        metrics: dict[str, float] = {}
        if asked:
            judgement = self.judge.judge(list(asked), on_progress=on_progress)
            answers = dict(zip(asked, judgement.answers, strict=True))
            metrics = {f"judge/{name}": value for name, value in judgement.health.items()}
        scores = [self._score(draft, answers) for draft in drafts]
        if scores:
            num_missing = sum(score.is_missing for score in scores)
            metrics["judge/missing_reward_frac"] = num_missing / len(scores)
        return BatchScore(scores, metrics)

    def _draft(self, attempt: Attempt, purpose: Purpose) -> "_Draft":
        row = row_from_column(attempt.prompt.columns[ROW_COLUMN])
        reading = read_answer(attempt.completion, think_prefilled=attempt.think_prefilled)
        if reading.answer is not None and reading.answer.abstains and row.is_answerable:
            reading = reading._replace(answer=None, fault="abstained")
        answer = reading.answer
        is_training = purpose == "training"
        fault = _format_fault(answer, row) if answer else reading.fault
        penalty = self.rewards.non_stop_penalty if attempt.is_truncated else None
        rubrics = active_rubrics(
            row, instance_rubrics_only=self.rewards.instance_rubrics_only and is_training
        )
        is_decided = penalty is not None or (self.rewards.gate_by_format and bool(fault))
        asks = answer is not None and not (is_training and is_decided)
        return _Draft(
            row=row,
            reading=reading,
            fault=fault,
            penalty=penalty,
            rubrics=rubrics,
            about_rubrics=self._about_rubrics(row, answer, rubrics) if answer and asks else (),
            about_claims=_about_claims(row, answer) if answer and asks else (),
            is_judged=asks,
        )

    def _about_rubrics(
        self, row: RefinerRow, answer: Answer, rubrics: Sequence[Rubric]
    ) -> tuple[RubricQuestion, ...]:
        parts = [(rubric,) for rubric in rubrics] if self.asks_each_rubric else [tuple(rubrics)]
        evidence = tuple((c, row.evidence[c]) for c in answer.cited_ids if c in row.evidence)
        return tuple(
            RubricQuestion(
                question=row.question,
                answer=answer.body,
                evidence=evidence,
                allowed_ids=tuple(row.evidence),
                rubrics=tuple(part),
            )
            for part in parts
        )

    def _score(self, draft: "_Draft", answers: Answers) -> Score:
        rubric_scores = draft.rubric_scores(answers)
        mean = draft.rubric_mean(rubric_scores)
        citations = draft.citations(answers)
        reward, reason = self._reward(draft, mean, citations)
        criteria = self._criteria(draft, mean, citations)
        return Score(
            criteria=criteria,
            rewards={} if reward is None else {COMPONENT: reward},
            reasons={COMPONENT: reason},
            error_class=_error_class(draft, criteria, is_missing=reward is None),
            error_path=str(draft.reading.position) if draft.fault else "",
            is_thinking=len(draft.reading.thought) >= MIN_THOUGHT_CHARS,
            measures=draft.measures(mean, citations),
            parts=draft.parts(rubric_scores),
            details=draft.details(rubric_scores, answers),
            is_missing=reward is None,
        )

    def _reward(
        self, draft: "_Draft", mean: float | None, citations: CitationScore | None
    ) -> tuple[float | None, str]:
        """Return the reward (None if it is missing) and a code that explains it."""
        if draft.is_judged and (mean is None or citations is None):
            return None, "judge_failed"
        if draft.penalty is not None:
            return draft.penalty, "not_stopped"
        if draft.reading.answer is None:
            return 0.0, draft.fault
        if self.rewards.gate_by_format and draft.fault:
            return 0.0, draft.fault
        assert mean is not None and citations is not None
        total = mean + self.rewards.citation_weight * citations.f1
        return self.rewards.scale * total, "ok"

    def _criteria(
        self, draft: "_Draft", mean: float | None, citations: CitationScore | None
    ) -> dict[str, bool]:
        """Return the criteria that are known; those that need a missing score are left out."""
        criteria = {"answered": draft.reading.answer is not None, "cited": not draft.fault}
        if draft.fault:
            return criteria | {"supported": False, "satisfied": False}
        if citations is None:
            return criteria
        criteria["supported"] = citations.f1 >= self.marks.citation_f1
        if not criteria["supported"]:
            criteria["satisfied"] = False
        elif mean is not None:
            criteria["satisfied"] = mean >= self.marks.rubric_mean
        return criteria


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """One completion, with its questions to the judge."""

    row: RefinerRow
    reading: Reading
    fault: str
    """Why it does not meet the criterion ``cited``, as a code; empty if it does."""
    penalty: float | None
    """A fixed reward that replaces the computed one, if any."""
    rubrics: tuple[Rubric, ...]
    about_rubrics: tuple[RubricQuestion, ...]
    about_claims: tuple[SupportQuestion, ...]
    is_judged: bool

    @property
    def questions(self) -> tuple[Question, ...]:
        """All questions to the judge about it."""
        return (*self.about_rubrics, *self.about_claims)

    def rubric_scores(self, answers: Answers) -> list[float | None]:
        """Return the judge's score of each rubric; None if it is missing."""
        scores: list[float | None] = []
        for question in self.about_rubrics:
            found = answers[question]
            scores += [None] * question.num_scores if found is None else found
        return scores

    def rubric_mean(self, scores: Sequence[float | None]) -> float | None:
        if self.reading.answer is None:
            return 0.0
        known = [score for score in scores if score is not None]
        if not self.is_judged or len(known) < len(self.rubrics):
            return None
        return rubric_mean(self.rubrics, known)

    def citations(self, answers: Answers) -> CitationScore | None:
        answer = self.reading.answer
        if answer is None:
            return CitationScore(0.0, 0.0, 0.0)
        support = [self._support(question, answers[question]) for question in self.about_claims]
        known = [found for found in support if found is not None]
        if not self.is_judged or len(known) < len(support):
            return None
        return citation_score(
            answer,
            evidence=self.row.evidence,
            is_answerable=self.row.is_answerable,
            support=known,
        )

    def measures(self, mean: float | None, citations: CitationScore | None) -> dict[str, float]:
        """Return the measures that are known."""
        answer = self.reading.answer
        ids = [cited for claim in answer.claims for cited in claim.ids] if answer else []
        found: dict[str, float] = {} if mean is None else {"rubric_mean": mean}
        if citations is not None:
            found["citation_precision"] = citations.precision
            found["citation_recall"] = citations.recall
            found["citation_f1"] = citations.f1
        if ids:
            found["invalid_id_frac"] = sum(c not in self.row.evidence for c in ids) / len(ids)
        found["num_claims"] = float(len(answer.claims)) if answer else 0.0
        found["answer_chars"] = float(len(answer.body)) if answer else 0.0
        return found

    def parts(self, rubric_scores: Sequence[float | None]) -> dict[str, float]:
        """Return the rubric scores that are known, by title."""
        scores = zip(self.rubrics, rubric_scores, strict=False)
        return {rubric.title: score for rubric, score in scores if score is not None}

    def details(self, rubric_scores: Sequence[float | None], answers: Answers) -> str:
        """Return the claims with their support, and the rubrics' scores, for pages."""
        answer = self.reading.answer
        if answer is None:
            return ""
        support = {
            question.claim: (answers[question] or (None,))[0] for question in self.about_claims
        }
        return shown_details(
            self.row, answer, support, zip(self.rubrics, rubric_scores, strict=False)
        )

    def _support(
        self, question: SupportQuestion, scores: tuple[float, ...] | None
    ) -> Support | None:
        if scores is None:
            return None
        names = [evidence_id for evidence_id, _ in question.evidence]
        alone = scores[1:] if len(names) > 1 else scores
        return Support(scores[0], dict(zip(names, alone, strict=True)))


def _about_claims(row: RefinerRow, answer: Answer) -> tuple[SupportQuestion, ...]:
    return tuple(
        SupportQuestion(
            claim=claim.text,
            evidence=tuple((c, row.evidence[c]) for c in known_ids(claim, row.evidence)),
        )
        for claim in checkable_claims(answer, row.evidence)
    )


def _format_fault(answer: Answer, row: RefinerRow) -> str:
    """Return why an answer does not meet the criterion ``cited``; empty if it does."""
    if answer.faults:
        return answer.faults[0]
    if answer.abstains:
        return ""
    if not answer.claims:
        return "nothing_cited"
    if any(cited not in row.evidence for cited in answer.cited_ids):
        return "unknown_id"
    return ""


def _error_class(draft: _Draft, criteria: dict[str, bool], *, is_missing: bool) -> str:
    if draft.fault:
        return draft.fault
    if is_missing:
        return "judge_failed"
    if not criteria.get("supported", True):
        return "unsupported"
    return "ok" if criteria.get("satisfied", True) else "rubrics_unmet"
