"""The two parts of the reward: the mean over a row's rubrics, and citation F1.

A positive rubric counts as the judge says, a negative one as one minus that. The flip adds
the same constant to every answer of a group, so advantages do not feel it; an answer that
is missing or empty earns 0 before any flip, and does feel it.

    precision = support of each citation, averaged over the citations
    recall    = support of each claim, summed, over the claims and the uncited sentences
    F1        = 2 * precision * recall / (precision + recall)

A citation is one id of one claim. One that is not in the evidence supports nothing, and no
judge is asked about it; a claim of which no id is known is supported by nothing. So uncited
filler lowers recall, extra ids lower precision, and invented ids lower both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trainables.tasks.refiner.answer import Answer, Claim
from trainables.tasks.refiner.rows import RefinerRow, Rubric

__all__ = [
    "STATIC_RUBRICS",
    "CitationScore",
    "Support",
    "active_rubrics",
    "checkable_claims",
    "citation_score",
    "known_ids",
    "rubric_mean",
]

STATIC_RUBRICS = (
    Rubric(
        "Citation Discipline",
        "Every factual claim of the answer is in snippet tags and cites ids of the allowed list, "
        "and each cited text shows the claim that cites it.",
    ),
    Rubric(
        "Off-Query Padding",
        "The answer holds statements that do not help to answer the question: background, "
        "repetition, remarks about itself.",
        is_negative=True,
    ),
    Rubric(
        "Wrong-Entity Confabulation",
        "The answer states something about the asked entity that the evidence states of another "
        "one, or that no evidence states.",
        is_negative=True,
    ),
)
"""They hold for any question."""


class Support(NamedTuple):
    """How far the evidence that a claim cites shows it."""

    claim: float
    """By all of it together; in [0, 1]."""
    by_id: Mapping[str, float]
    """By each known id alone; in [0, 1]."""


class CitationScore(NamedTuple):
    """What the citations of one answer are worth; all in [0, 1]."""

    precision: float
    recall: float
    f1: float


def active_rubrics(row: RefinerRow, *, instance_rubrics_only: bool) -> tuple[Rubric, ...]:
    """Return the rubrics of a row: its own, then the static ones unless they are off."""
    return row.rubrics if instance_rubrics_only else (*row.rubrics, *STATIC_RUBRICS)


def rubric_mean(rubrics: Sequence[Rubric], scores: Sequence[float]) -> float:
    """Return the weighted mean, negative rubrics flipped; in [0, 1].

    Args:
        rubrics: At least one.
        scores: What the judge says of each, in [0, 1].
    """
    terms = [
        rubric.weight * (1.0 - score if rubric.is_negative else score)
        for rubric, score in zip(rubrics, scores, strict=True)
    ]
    return math.fsum(terms) / math.fsum(rubric.weight for rubric in rubrics)


def known_ids(claim: Claim, evidence: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of a claim that are in the evidence."""
    return tuple(cited for cited in claim.ids if cited in evidence)


def checkable_claims(answer: Answer, evidence: Mapping[str, str]) -> tuple[Claim, ...]:
    """Return the claims that a judge must be asked about: those that cite a known id."""
    return tuple(claim for claim in answer.claims if known_ids(claim, evidence))


def citation_score(
    answer: Answer,
    *,
    evidence: Mapping[str, str],
    is_answerable: bool,
    support: Sequence[Support],
) -> CitationScore:
    """Score the citations of an answer.

    Args:
        answer: The answer.
        evidence: The row's.
        is_answerable: The evidence answers the question. Where it does not, an answer that
            says so and nothing else has full marks; elsewhere it has none.
        support: Of each of ``checkable_claims``, in their order.
    """
    if answer.abstains and not is_answerable:
        return CitationScore(1.0, 1.0, 1.0)
    num_citations = sum(len(claim.ids) for claim in answer.claims)
    num_statements = len(answer.claims) + len(answer.uncited)
    if not num_citations:
        return CitationScore(0.0, 0.0, 0.0)
    claims = zip(checkable_claims(answer, evidence), support, strict=True)
    by_citation = [
        found.by_id[cited] for claim, found in claims for cited in known_ids(claim, evidence)
    ]
    precision = math.fsum(by_citation) / num_citations
    recall = math.fsum(found.claim for found in support) / num_statements
    total = precision + recall
    return CitationScore(precision, recall, 2 * precision * recall / total if total else 0.0)
