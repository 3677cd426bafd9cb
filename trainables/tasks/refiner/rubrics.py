"""The rubrics that every answer meets, and the mean over a row's rubrics.

A positive rubric counts as the judge says, a negative one as one minus that. The flip adds
the same constant to every answer of a group, so advantages do not feel it; an answer that
is missing or empty earns 0 before any flip, and does feel it.
"""

import math
from collections.abc import Sequence

from trainables.tasks.refiner.rows import RefinerRow, Rubric

__all__ = ["STATIC_RUBRICS", "active_rubrics", "rubric_mean"]

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
