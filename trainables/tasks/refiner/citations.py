"""The citation reward: how much of an answer is supported by what it cites.

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

__all__ = ["CitationScore", "Support", "checkable_claims", "citation_score", "known_ids"]


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
