"""Turns a difference into a word: better, worse, equivalent, or no clear difference.

An adapter verdict is about one run and says "this run". A recipe verdict is about what training
again would give, needs three seeds on each trained side, and without them is "one run, recipe
undecided".
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.differences import (
    MIN_SEEDS,
    Difference,
    detectable_difference,
    interval,
    is_equivalent,
)

__all__ = [
    "ALPHA",
    "DECIDED",
    "MARGIN",
    "Effect",
    "Verdict",
    "Word",
    "adapter_verdict",
    "compared_verdict",
    "detectable_text",
    "effect",
    "effect_text",
    "no_verdict",
    "p_text",
    "recipe_verdict",
    "undecided_verdict",
]

ALPHA = 0.05
"""Two-sided level of a verdict, after Holm's adjustment."""
MARGIN = 0.03
"""Differences within +-3 points count as equivalent."""


class Word(StrEnum):
    """The outcome of a comparison."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNCLEAR = "no clear difference"


DECIDED = (Word.BETTER, Word.WORSE, Word.EQUIVALENT)
"""Outcomes that decide a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A difference with its 95% interval, in percentage points; NaN bounds: no interval."""

    estimate_pp: float
    low_pp: float
    high_pp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A word, its sentence, and the numbers behind both."""

    word: Word | None
    """None: nothing was decided, and ``text`` says why."""
    text: str
    effect: Effect | None = None
    p_adjusted: float | None = None
    """After Holm over the planned family."""
    detectable_pp: float | None = None
    """The smallest true difference that this design finds at 80% power; infinite where it is more
    than the 100 points that rates can differ by, NaN where all prompts are of one family."""


def adapter_verdict(difference: Difference, *, adjusted_p: float, num_planned: int) -> Verdict:
    """Judge one trained adapter against its baseline; the size of the Holm family was planned."""
    return _decide(
        difference,
        sides=("this run", "its baseline"),
        adjusted_p=adjusted_p,
        num_planned=num_planned,
    )


def compared_verdict(difference: Difference, *, sides: tuple[str, str]) -> Verdict:
    """Judge one run against another, as a single comparison that was not planned."""
    return _decide(difference, sides=sides, adjusted_p=float(difference.p), num_planned=1)


def recipe_verdict(
    difference: Difference,
    *,
    sides: tuple[str, str],
    num_seeds: tuple[int, int | None],
    adjusted_p: float,
    num_planned: int,
) -> Verdict:
    """Judge a recipe over its seeds.

    Args:
        difference: From ``recipe_difference``, 0-d.
        sides: Their names in the sentence.
        num_seeds: Seeds of each; None for an untrained baseline.
        adjusted_p: Its p after Holm's method.
        num_planned: The size of the Holm family.
    """
    ours, theirs = num_seeds
    over = f"over {ours} seeds" if theirs is None else f"over {ours} against {theirs} seeds"
    return _decide(
        difference, sides=sides, adjusted_p=adjusted_p, num_planned=num_planned, over=over
    )


def undecided_verdict(difference: Difference, *, num_seeds: tuple[int, int | None]) -> Verdict:
    """Return the difference between runs of too few seeds to judge the recipe."""
    fewest = min(seeds for seeds in num_seeds if seeds is not None)
    runs = "one run" if fewest == 1 else f"{fewest} runs"
    found = effect(difference)
    text = (
        f"{effect_text(found)} between these runs; {runs}, recipe undecided "
        f"({MIN_SEEDS} seeds on each trained side decide)."
    )
    return Verdict(word=None, text=text, effect=found)


def no_verdict(reason: str) -> Verdict:
    """Return the reason why there is no comparison."""
    return Verdict(word=None, text=f"not compared: {reason}")


def effect(difference: Difference, *, widest: float = 1.0) -> Effect:
    """Return a 0-d difference and its 95% interval in percentage points.

    The interval ends at ``widest`` at the latest: rates differ by 1 at most, gains by 2.
    """
    low, high = np.clip(interval(difference, level=1 - ALPHA), -widest, widest)
    return Effect(
        estimate_pp=100 * float(difference.estimate),
        low_pp=100 * float(low),
        high_pp=100 * float(high),
    )


def effect_text(found: Effect) -> str:
    """Return e.g. ``+12.3 pp [8.1, 16.5]``."""
    if math.isnan(found.low_pp):
        return f"{found.estimate_pp:+z.1f} pp (no interval)"
    return f"{found.estimate_pp:+z.1f} pp [{found.low_pp:z.1f}, {found.high_pp:z.1f}]"


def detectable_text(detectable_pp: float, *, few: str = "families") -> str:
    """Return the sentence on what a design detects; ``few`` names what it lacks."""
    if math.isnan(detectable_pp):
        return "all prompts belong to one family, which shows nothing about others."
    if math.isinf(detectable_pp):
        return f"too few {few} to detect any difference."
    return f"this design detects {detectable_pp:.1f} pp at 80% power."


def p_text(p: float) -> str:
    """Return e.g. ``p = 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _decide(
    difference: Difference,
    *,
    sides: tuple[str, str],
    adjusted_p: float,
    num_planned: int,
    over: str = "",
) -> Verdict:
    found = effect(difference)
    detectable_pp = 100 * detectable_difference(
        float(difference.standard_error), float(difference.df), alpha=ALPHA / num_planned
    )
    if detectable_pp > 100:
        detectable_pp = math.inf
    if adjusted_p < ALPHA:
        word = Word.BETTER if found.estimate_pp > 0 else Word.WORSE
    elif bool(is_equivalent(difference, margin=MARGIN)):
        word = Word.EQUIVALENT
    else:
        word = Word.UNCLEAR
    holm = f" after Holm over {num_planned} planned comparisons" if num_planned > 1 else ""
    sentence = _sentence(
        word,
        found,
        sides=sides,
        over=f" {over}" if over else "",
        p=f"{p_text(adjusted_p)}{holm}",
        detectable_pp=detectable_pp,
    )
    return Verdict(
        word=word,
        text=f"{effect_text(found)}: {sentence}",
        effect=found,
        p_adjusted=adjusted_p,
        detectable_pp=detectable_pp,
    )


def _sentence(
    word: Word, found: Effect, *, sides: tuple[str, str], over: str, p: str, detectable_pp: float
) -> str:
    ours, theirs = sides
    if word in (Word.BETTER, Word.WORSE):
        return f"{ours} is {word} than {theirs}{over} ({p})."
    if word is Word.EQUIVALENT:
        return f"{ours} is equivalent to {theirs} within {100 * MARGIN:.0f} points{over}."
    unclear = f"{word} between {ours} and {theirs}{over}"
    if found.low_pp > 0 or found.high_pp < 0:
        unclear = f"{unclear}: the interval alone excludes 0, but {p}"
    few = "seeds or families" if over else "families"
    return f"{unclear}; {detectable_text(detectable_pp, few=few)}"
