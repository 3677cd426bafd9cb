"""Details of one answer for reports: its claims with their support, and each rubric's score."""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trainables.tasks.refiner.answer import Answer, Claim
from trainables.tasks.refiner.rows import RefinerRow, Rubric

__all__ = ["shown_details"]

SUPPORTED = 0.5
"""A claim with less support than this is marked as a fault."""


def shown_details(
    row: RefinerRow,
    answer: Answer,
    support: Mapping[str, float | None],
    rubrics: Iterable[tuple[Rubric, float | None]],
) -> str:
    """Return an answer's ``Score.details``.

    Args:
        row: The row that was asked.
        answer: The answer to it.
        support: The support of each claim by its evidence, by the claim's text; None if missing.
        rubrics: The rubrics with their scores; None if missing.
    """
    spans = [_claim_span(claim, row, support.get(claim.text)) for claim in answer.claims]
    spans += [_Span(found.start, found.end, "no citation", True) for found in answer.uncited]
    document = {
        "spans": [span._asdict() for span in sorted(spans)],
        "scores": [
            {"name": rubric.title, "value": score, "is_negative": rubric.is_negative}
            for rubric, score in rubrics
        ],
    }
    return json.dumps(document, ensure_ascii=False)


class _Span(NamedTuple):
    """A marked part of a completion; spans sort in text order."""

    start: int
    end: int
    label: str
    is_fault: bool


def _claim_span(claim: Claim, row: RefinerRow, support: float | None) -> _Span:
    known = [cited for cited in claim.ids if cited in row.evidence]
    unknown = [cited for cited in claim.ids if cited not in row.evidence]
    said = [", ".join(known)] if known and support is None else []
    said += [f"{', '.join(known)} shows {support:.0%}"] if support is not None else []
    said += [f"{', '.join(unknown)} unknown"] if unknown else []
    is_fault = bool(unknown) or (support is not None and support < SUPPORTED)
    return _Span(claim.start, claim.end, "; ".join(said), is_fault)
