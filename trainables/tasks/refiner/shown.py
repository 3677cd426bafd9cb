"""What pages show of one answer: its claims with their citations, and each rubric's score."""

from collections.abc import Iterable, Mapping

from trainables.tasks.details import NamedScore, Span, details_text
from trainables.tasks.refiner.answer import Answer, Claim
from trainables.tasks.refiner.rows import RefinerRow, Rubric

__all__ = ["shown_details"]

SUPPORTED = 0.5
"""A claim that its evidence shows less far is marked as a fault."""


def shown_details(
    row: RefinerRow,
    answer: Answer,
    support: Mapping[str, float | None],
    rubrics: Iterable[tuple[Rubric, float | None]],
) -> str:
    """Return an answer's details.

    Args:
        row: What was asked.
        answer: The answer.
        support: By a claim's text, how far the evidence that it cites shows it; None is missing.
        rubrics: Each with what the judge says of it, None where that is missing.
    """
    spans = [_claim_span(claim, row, support.get(claim.text)) for claim in answer.claims]
    spans += [Span(found.start, found.end, "no citation", True) for found in answer.uncited]
    scores = [NamedScore(rubric.title, score, rubric.is_negative) for rubric, score in rubrics]
    return details_text(spans, scores)


def _claim_span(claim: Claim, row: RefinerRow, support: float | None) -> Span:
    known = [cited for cited in claim.ids if cited in row.evidence]
    unknown = [cited for cited in claim.ids if cited not in row.evidence]
    said = [", ".join(known)] if known and support is None else []
    said += [f"{', '.join(known)} shows {support:.0%}"] if support is not None else []
    said += [f"{', '.join(unknown)} unknown"] if unknown else []
    is_fault = bool(unknown) or (support is not None and support < SUPPORTED)
    return Span(claim.start, claim.end, "; ".join(said), is_fault)
