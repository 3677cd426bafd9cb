"""Arms against their baselines, and arms that differ in one column, in paired differences.

One rung is judged, with Holm over all comparisons of its kind that the file allows; every
other number has an interval and no p. Nothing of it was planned before the completions were
made, and one run a side says nothing about training again: wording says so.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.audit.arms import Arm, Pair, contrast_pairs, pair
from analysis.differences import Difference, holm, interval, paired_difference
from analysis.measured import Interval
from analysis.verdicts import (
    Effect,
    Verdict,
    Word,
    adapter_verdict,
    detectable_text,
    effect,
    effect_text,
    p_text,
)

__all__ = [
    "ArmComparison",
    "Contrast",
    "MeanGain",
    "compare_with_baselines",
    "contrasts",
    "mean_gains",
    "rungs_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmComparison:
    """A trained arm beside its baseline."""

    arm: str
    baseline: str
    num_prompts: int
    """Prompts that both answered."""
    num_unpaired: int
    verdict: Verdict
    """On the judged rung."""
    deltas: dict[str, Effect]
    """Every rung; exploratory but for the judged one."""
    rewards: dict[str, Interval]
    """Every reward component's difference, in its own unit; exploratory."""
    shares: dict[str, Effect]
    """Every symptom that both sides can show; exploratory."""
    by_leak: dict[str, dict[str, Effect]]
    """The judged rung on prompts that are in training and on others; exploratory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two arms that differ in one column."""

    column: str
    arm: str
    against: str
    num_prompts: int
    num_unpaired: int
    verdict: Verdict


class MeanGain(NamedTuple):
    """A rung before and after, averaged over all arms that have a baseline."""

    baseline: float
    trained: float
    delta: Effect | None
    """None where the arms did not all answer the same prompts."""


def rungs_of(arm: Arm) -> tuple[str, ...]:
    """Return the rungs that were scored, lowest first."""
    return tuple(arm.counts)


def compare_with_baselines(
    arms: Sequence[Arm], baselines: Mapping[str, Arm], *, rung: str
) -> tuple[ArmComparison, ...]:
    """Judge every arm that has a baseline; all of them are one Holm family."""
    pairs = [pair(arm, baselines[arm.name]) for arm in arms if arm.name in baselines]
    verdicts = _verdicts(pairs, rung, against="its baseline")
    return tuple(
        ArmComparison(
            arm=found.ours.name,
            baseline=found.theirs.name,
            num_prompts=len(found.ours.table.index.intersection(found.theirs.table.index)),
            num_unpaired=found.num_unpaired,
            verdict=verdict,
            deltas=_effects(found, "rung/"),
            rewards={
                name: _in_own_unit(delta) for name, delta in _differences(found, "reward/").items()
            },
            shares=_effects(found, "share/"),
            by_leak=_by_leak(found, rung),
        )
        for found, verdict in zip(pairs, verdicts, strict=True)
    )


def contrasts(arms: Sequence[Arm], column: str, *, rung: str) -> tuple[Contrast, ...]:
    """Judge every two arms that differ in a column alone; all of them are one Holm family."""
    pairs = [pair(ours, theirs) for ours, theirs in contrast_pairs(arms, column)]
    return tuple(
        Contrast(
            column=column,
            arm=found.ours.name,
            against=found.theirs.name,
            num_prompts=len(found.ours.table.index.intersection(found.theirs.table.index)),
            num_unpaired=found.num_unpaired,
            verdict=verdict,
        )
        for found, verdict in zip(
            pairs, _verdicts(pairs, rung, against="the other arm"), strict=True
        )
    )


def mean_gains(arms: Sequence[Arm], baselines: Mapping[str, Arm]) -> dict[str, MeanGain]:
    """Average every rung over the arms that have a baseline; a description of these arms.

    Errors are clustered by family over prompts that all arms answered, so that the interval
    is about other prompts, not about other models.
    """
    trained = [arm for arm in arms if arm.name in baselines]
    if not trained:
        return {}
    sides = [baselines[arm.name] for arm in trained]
    first = trained[0].table
    is_same = all(side.table.index.equals(first.index) for side in (*trained, *sides))
    found = {}
    for rung in rungs_of(trained[0]):
        column = f"rung/{rung}"
        before, after = ([arm.mean(column) for arm in arms] for arms in (sides, trained))
        delta = None
        if is_same:
            ours, theirs = (
                np.mean([arm.values(column) for arm in arms], axis=0) for arms in (trained, sides)
            )
            delta = effect(paired_difference(ours, theirs, list(first["family"])))
        found[rung] = MeanGain(float(np.mean(before)), float(np.mean(after)), delta)
    return found


def _verdicts(pairs: Sequence[Pair], rung: str, *, against: str) -> list[Verdict]:
    differences = [paired_difference(*found.side(f"rung/{rung}")) for found in pairs]
    adjusted = holm([float(found.p) for found in differences], num_planned=len(pairs))
    return [
        _verdict(found, adjusted_p=float(p), num_compared=len(pairs), against=against)
        for found, p in zip(differences, adjusted, strict=True)
    ]


def _verdict(
    difference: Difference, *, adjusted_p: float, num_compared: int, against: str
) -> Verdict:
    """Take the word of a sweep's verdict; the sentence does not claim that it was planned."""
    verdict = adapter_verdict(difference, adjusted_p=adjusted_p, num_planned=num_compared)
    found, word = effect(difference), verdict.word
    if word in (Word.BETTER, Word.WORSE):
        holm_text = f" after Holm over {num_compared} comparisons" if num_compared > 1 else ""
        text = f"{word} than {against} ({p_text(adjusted_p)}{holm_text})."
    elif word is Word.EQUIVALENT:
        text = f"equivalent to {against} within 3 points."
    else:
        assert verdict.detectable_pp is not None
        text = f"{word}; {detectable_text(verdict.detectable_pp)}"
    return dataclasses.replace(verdict, text=f"{effect_text(found)}: {text}")


def _effects(found: Pair, prefix: str) -> dict[str, Effect]:
    return {name: effect(delta) for name, delta in _differences(found, prefix).items()}


def _differences(found: Pair, prefix: str) -> dict[str, Difference]:
    """Return the difference of each measure that both sides have on some prompt."""
    differences = {}
    for column in found.ours.table.columns:
        if str(column).startswith(prefix):
            ours, theirs, families = found.side(str(column))
            if families:
                name = str(column).removeprefix(prefix)
                differences[name] = paired_difference(ours, theirs, families)
    return differences


def _in_own_unit(difference: Difference) -> Interval:
    low, high = interval(difference)
    return Interval(float(difference.estimate), float(low), float(high))


def _by_leak(found: Pair, rung: str) -> dict[str, dict[str, Effect]]:
    parts: dict[str, dict[str, Effect]] = {}
    for column in found.ours.table.columns:
        if not str(column).startswith("in_training/"):
            continue
        kind = str(column).removeprefix("in_training/")
        is_leaked = found.ours.table[column].astype(bool)
        for name, keep in (("in training", is_leaked), ("new", ~is_leaked)):
            part = dataclasses.replace(found.ours, table=found.ours.table[keep])
            ours, theirs, families = Pair(part, found.theirs, 0).side(f"rung/{rung}")
            if families:
                difference = paired_difference(ours, theirs, families)
                parts.setdefault(kind, {})[name] = effect(difference)
    return parts
