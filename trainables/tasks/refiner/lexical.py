"""A judge without a model: it counts words. Deterministic and offline.

For a rubric it takes the words in double quotes, or, if there are none, all words that carry
meaning, and returns the share of them that the answer's text contains. The three static rubrics
have rules of their own. It is easily fooled (it reads "not red" as red), so use it only for made-up
rows and tests.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from trainables.tasks.refiner.answer import Answer, read_answer
from trainables.tasks.refiner.judge import Judgement, Question, RubricQuestion, SupportQuestion
from trainables.tasks.refiner.prompts import gold_answer
from trainables.tasks.refiner.rewards import STATIC_RUBRICS
from trainables.tasks.refiner.rows import Rubric
from trainables.tasks.refiner.sentences import words

__all__ = ["LexicalJudge"]

_QUOTED = re.compile(r'"([^"]+)"')
_NAME = re.compile(r"\b[A-Z][a-z]\w+")
_NUMBER = re.compile(r"\d+")
_EMPTY_WORDS = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "from", "has", "have",
        "in", "is", "it", "its", "of", "on", "or", "says", "say", "that", "the", "this", "to",
        "was", "were", "what", "when", "where", "which", "who", "with", "answer", "states", "state",
        "mentions",
    }
)  # fmt: skip


class LexicalJudge:
    """Scores by the words that texts have in common."""

    def judge(
        self, questions: Sequence[Question], *, on_progress: Callable[[], None] | None = None
    ) -> Judgement:
        """Answer every question; no answer is missing."""
        return Judgement([_scores(question) for question in questions], {})


def _scores(question: Question) -> tuple[float, ...]:
    if isinstance(question, SupportQuestion):
        return _support_scores(question)
    return tuple(_rubric_score(question, rubric) for rubric in question.rubrics)


def _support_scores(question: SupportQuestion) -> tuple[float, ...]:
    alone = [_word_share(question.claim, text) for _, text in question.evidence]
    if len(alone) == 1:
        return tuple(alone)
    together = _word_share(question.claim, " ".join(text for _, text in question.evidence))
    return (together, *alone)


def _rubric_score(question: RubricQuestion, rubric: Rubric) -> float:
    rule = _STATIC_RULES.get(rubric.title)
    answer = read_answer(gold_answer(question.answer)).answer
    if answer is None:
        return 0.0
    if rule is not None and rubric in STATIC_RUBRICS:
        return rule(question, answer)
    wanted = _QUOTED.findall(rubric.description)
    if not wanted:
        return _word_share(rubric.description, question.answer)
    text = f" {' '.join(words(_without_tags(answer)))} "
    return sum(f" {' '.join(words(phrase))} " in text for phrase in wanted) / len(wanted)


def _citation_discipline(question: RubricQuestion, answer: Answer) -> float:
    """Return the share of statements that cite only allowed ids of texts with the same words."""
    if answer.abstains:
        return 1.0
    evidence = dict(question.evidence)
    good = [
        _word_share(claim.text, " ".join(evidence.get(cited, "") for cited in claim.ids))
        for claim in answer.claims
        if all(cited in question.allowed_ids for cited in claim.ids)
    ]
    num_statements = len(answer.claims) + len(answer.uncited)
    return sum(good) / num_statements if num_statements else 0.0


def _off_query_padding(question: RubricQuestion, answer: Answer) -> float:
    """Return the share of statements with at most one word in common with the question."""
    asked = _words(question.question)
    statements = [*(claim.text for claim in answer.claims), *(s.text for s in answer.uncited)]
    beside = [text for text in statements if len(_words(text) & asked) < min(2, len(asked))]
    return len(beside) / len(statements) if statements else 0.0


def _wrong_entity(question: RubricQuestion, answer: Answer) -> float:
    """Return the share of names and numbers that neither question nor cited evidence has."""
    known = words(" ".join([question.question, *(text for _, text in question.evidence)]))
    text = _without_tags(answer)
    found = {name.casefold() for name in _NAME.findall(text)} | set(_NUMBER.findall(text))
    named = {name for name in found if name not in _EMPTY_WORDS}
    if answer.abstains or not named:
        return 0.0
    return len(named - set(known)) / len(named)


_STATIC_RULES: Mapping[str, Callable[[RubricQuestion, Answer], float]] = MappingProxyType(
    {
        "Citation Discipline": _citation_discipline,
        "Off-Query Padding": _off_query_padding,
        "Wrong-Entity Confabulation": _wrong_entity,
    }
)


def _without_tags(answer: Answer) -> str:
    return re.sub(r"<[^<>]*>", " ", answer.body)


def _word_share(wanted: str, text: str) -> float:
    """Return the share of the meaningful words of ``wanted`` in ``text``; 0 if it has none."""
    meant = _words(wanted)
    return len(meant & _words(text)) / len(meant) if meant else 0.0


def _words(text: str) -> frozenset[str]:
    return frozenset(words(text)) - _EMPTY_WORDS
