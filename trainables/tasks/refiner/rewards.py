"""The two parts of the reward: the mean over a row's rubrics, and citation F1.

A positive rubric counts as the judge's score, a negative one as one minus that. The inversion adds
the same constant to every answer of a group, so it does not change their advantages; an answer that
is missing or empty earns 0 without it.

    precision = support of each citation, averaged over the citations
    recall    = support of each claim, summed, over the claims and the uncited sentences
    F1        = 2 * precision * recall / (precision + recall)

A citation is one id of one claim. A citation of an id that is not in the evidence supports nothing,
and no judge is asked about it; a claim without a known id is not supported. So uncited filler
lowers recall, extra ids lower precision, and invented ids lower both.
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
"""Rubrics that apply to any question."""


class Support(NamedTuple):
    """How far a claim is supported by the evidence that it cites."""

    claim: float
    """Support by all of it together, in [0, 1]."""
    by_id: Mapping[str, float]
    """Support by each known id alone, in [0, 1]."""


class CitationScore(NamedTuple):
    """Precision, recall and F1 of an answer's citations, all in [0, 1]."""

    precision: float
    recall: float
    f1: float


def active_rubrics(row: RefinerRow, *, instance_rubrics_only: bool) -> tuple[Rubric, ...]:
    """Return the row's own rubrics, and the static ones unless they are switched off."""
    return row.rubrics if instance_rubrics_only else (*row.rubrics, *STATIC_RUBRICS)


def rubric_mean(rubrics: Sequence[Rubric], scores: Sequence[float]) -> float:
    """Return the weighted mean with negative rubrics inverted, in [0, 1].

    Args:
        rubrics: The rubrics, at least one.
        scores: The judge's score of each, in [0, 1].
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
    """Return the claims that a judge must check: those that cite a known id."""
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
        evidence: The row's evidence.
        is_answerable: Whether the evidence answers the question. If not, an answer that says only
            this scores 1; otherwise such an answer scores 0.
        support: The support of each of ``checkable_claims``, in order.
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
