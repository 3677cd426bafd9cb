"""Audits recorded completions arm by arm.

One criterion is judged, with Holm over all comparisons of its kind that the file allows; every
other number has an interval and no p. No comparison was planned before the completions were made.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.audit.runs import Arm, differing
from analysis.differences import Difference, holm, paired_difference
from analysis.measured import Interval, Measured, difference, mean_interval
from analysis.trials import LOW_THINK_RATE
from analysis.verdicts import (
    Effect,
    Verdict,
    adapter_verdict,
    detectable_text,
    effect,
    effect_text,
    p_text,
)
from strictune.errors import SpecError

__all__ = ["ArmComparison", "ArmSummary", "Audit", "Leak", "MeanGain", "Sign", "audit_arms"]

COLLAPSE = 0.5
"""Answers, or the values in their documents, below this share of the baseline's."""
IN_TRAINING = "in_training/"
"""Measures of a prompt, not of an answer: it was trained on."""


class ArmSummary(NamedTuple):
    """One arm."""

    arm: str
    columns: dict[str, str]
    is_baseline: bool
    num_completions: int
    num_prompts: int
    counts: dict[str, int]
    """Completions on each criterion."""
    rates: dict[str, Interval]
    """Pass@1 of every criterion, over prompts."""
    is_thinking_asked: bool
    think_rate: float
    means: dict[str, float]
    """Every measure's mean over the prompts that have it; NaN without one."""


class ArmComparison(NamedTuple):
    """An arm beside its baseline, or beside another that differs in one column."""

    column: str | None
    """In which the two differ; None beside a baseline."""
    arm: str
    against: str
    num_prompts: int
    """Prompts that both answered."""
    num_unpaired: int
    """Prompts that one side lacks; they are left out."""
    verdict: Verdict
    """On the judged criterion."""
    deltas: dict[str, Effect]
    """Every criterion; exploratory but for the judged one."""
    measures: dict[str, Interval]
    """Every measure's difference, in its own unit, where both sides have it; exploratory."""
    by_leak: dict[str, dict[str, Effect]]
    """The judged criterion on prompts that are in training and on others; exploratory."""


class MeanGain(NamedTuple):
    """A criterion before and after, averaged over all arms that have a baseline."""

    baseline: float
    trained: float
    delta: Effect | None
    """None where the arms did not all answer the same prompts."""


class Leak(NamedTuple):
    """The share of the evaluation's prompts that were in training."""

    kind: str
    """``prompt``: the same text but for case and white space; ``skeleton``: the same schema
    but for names, literals and numbers."""
    num_prompts: int
    num_in_training: int


class Sign(NamedTuple):
    """A reason to read completions; its intervals are not adjusted for their number."""

    arm: str
    kind: str
    """``reward_hacking``, ``hollow_gain``, ``length_collapse``, ``low_think_rate``, or the
    name of a symptom."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The result of an audit."""

    criterion: str
    """The judged one."""
    num_completions: int
    num_prompts: int
    num_families: int
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[ArmComparison, ...]
    without_baseline: tuple[str, ...]
    """Trained arms that no baseline agrees with; empty if no baseline was asked for."""
    mean_gains: dict[str, MeanGain]
    """Each criterion over all arms that have a baseline."""
    contrasts: tuple[ArmComparison, ...]
    signs: tuple[Sign, ...]
    leaks: tuple[Leak, ...]


def audit_arms(
    arms: Sequence[Arm], *, criterion: str, contrast_columns: Sequence[str] = ()
) -> Audit:
    """Audit the arms of recorded completions.

    Args:
        arms: From ``write_runs``.
        criterion: The criterion that verdicts are about.
        contrast_columns: Arms that differ in one of these alone are compared.

    Raises:
        SpecError: The criterion was not scored, or arms cannot be compared.
    """
    if criterion not in arms[0].run.criteria:
        raise SpecError(
            f"--criterion {criterion}: expected one of {', '.join(arms[0].run.criteria)}."
        )
    by_name = {arm.name: arm for arm in arms}
    pairs = [(arm, by_name[arm.baseline]) for arm in arms if arm.baseline is not None]
    comparisons = _compare(pairs, criterion)
    compared = {found.arm: found for found in comparisons}
    families = {
        prompt: family
        for arm in arms
        for prompt, family in zip(arm.run.table.index, arm.run.families, strict=True)
    }
    has_baselines = any(arm.is_baseline for arm in arms)
    return Audit(
        criterion=criterion,
        num_completions=sum(arm.run.num_completions for arm in arms),
        num_prompts=len(families),
        num_families=len(set(families.values())),
        arms=tuple(map(_summary, arms)),
        comparisons=tuple(comparisons),
        without_baseline=tuple(
            arm.name
            for arm in arms
            if has_baselines and not arm.is_baseline and arm.baseline is None
        ),
        mean_gains=_mean_gains(pairs),
        contrasts=tuple(
            found
            for column in contrast_columns
            for found in _compare(_contrasted(arms, column), criterion, column=column)
        ),
        signs=tuple(
            Sign(arm.name, kind, text)
            for arm in arms
            for kind, text in (
                *_thinking_signs(arm),
                *_signs(
                    arm, by_name.get(str(arm.baseline)), compared.get(arm.name), criterion=criterion
                ),
            )
        ),
        leaks=_leaks(arms),
    )


def _summary(arm: Arm) -> ArmSummary:
    run = arm.run
    samples = run.table["num_samples"].to_numpy()
    return ArmSummary(
        arm=arm.name,
        columns=arm.columns,
        is_baseline=arm.is_baseline,
        num_completions=run.num_completions,
        num_prompts=len(run.table),
        counts={
            criterion: round(float((run.criterion(criterion) * samples).sum()))
            for criterion in run.criteria
        },
        rates={criterion: run.rate(criterion) for criterion in run.criteria},
        is_thinking_asked=arm.is_thinking_asked,
        think_rate=run.mean("is_thinking"),
        means={
            name: run.mean(f"measure/{name}")
            for name in run.measures
            if not name.startswith(IN_TRAINING)
        },
    )


def _contrasted(arms: Sequence[Arm], column: str) -> list[tuple[Arm, Arm]]:
    """List the arms that differ in one column alone, the later arm first."""
    return [
        (later, earlier)
        for earlier, later in combinations(arms, 2)
        if differing(later.columns, earlier.columns) == [column]
    ]


def _compare(
    pairs: Sequence[tuple[Arm, Arm]], criterion: str, *, column: str | None = None
) -> list[ArmComparison]:
    """Compare arms on the prompts that both answered; all of them are one Holm family."""
    sides = [_shared(ours, theirs) for ours, theirs in pairs]
    differences = [difference(ours, theirs, criterion) for ours, theirs in sides]
    adjusted = holm([float(found.p) for found in differences], num_planned=len(pairs))
    return [
        ArmComparison(
            column=column,
            arm=first.name,
            against=second.name,
            num_prompts=len(ours.table),
            num_unpaired=len(first.run.table) + len(second.run.table) - 2 * len(ours.table),
            verdict=_verdict(found, adjusted_p=float(p), num_compared=len(pairs)),
            deltas={name: effect(difference(ours, theirs, name)) for name in ours.criteria},
            measures=_measure_differences(ours, theirs),
            by_leak=_by_leak(ours, theirs, criterion),
        )
        for (first, second), (ours, theirs), found, p in zip(
            pairs, sides, differences, adjusted, strict=True
        )
    ]


def _shared(ours: Arm, theirs: Arm) -> tuple[Measured, Measured]:
    prompts = ours.run.table.index.intersection(theirs.run.table.index)
    if prompts.empty:
        raise SpecError(
            f"{ours.name} and {theirs.name} share no prompt, so that they cannot be compared. "
            "Choose other columns with --by, or another --baseline."
        )
    first, second = (Measured(arm.run.record, arm.run.table.loc[prompts]) for arm in (ours, theirs))
    return first, second


def _verdict(found: Difference, *, adjusted_p: float, num_compared: int) -> Verdict:
    """Judge as a sweep does, in a sentence that does not claim that it was planned."""
    verdict = adapter_verdict(found, adjusted_p=adjusted_p, num_planned=num_compared)
    assert verdict.detectable_pp is not None
    over = f" after Holm over {num_compared} comparisons" if num_compared > 1 else ""
    text = (
        f"{effect_text(effect(found))}: {verdict.word} ({p_text(adjusted_p)}{over}); "
        f"{detectable_text(verdict.detectable_pp)}"
    )
    return dataclasses.replace(verdict, text=text)


def _measure_differences(ours: Measured, theirs: Measured) -> dict[str, Interval]:
    differences = {}
    for name in ours.measures:
        found = mean_interval(ours.measure(name) - theirs.measure(name), ours.families)
        if found is not None and not name.startswith(IN_TRAINING):
            widest = 1.0 if name.startswith("share/") else np.inf
            low, high = np.clip(found[1:], -widest, widest).tolist()
            differences[name] = Interval(found.estimate, low, high)
    return differences


def _by_leak(ours: Measured, theirs: Measured, criterion: str) -> dict[str, dict[str, Effect]]:
    parts: dict[str, dict[str, Effect]] = {}
    for name in ours.measures:
        if name.startswith(IN_TRAINING):
            is_leaked = ours.measure(name) > 0
            for part, keep in (("in training", is_leaked), ("new", ~is_leaked)):
                first, second = (Measured(run.record, run.table[keep]) for run in (ours, theirs))
                if keep.any():
                    found = parts.setdefault(name.removeprefix(IN_TRAINING), {})
                    found[part] = effect(difference(first, second, criterion))
    return parts


def _mean_gains(pairs: Sequence[tuple[Arm, Arm]]) -> dict[str, MeanGain]:
    """Average every criterion over the arms that have a baseline; a description of these arms.

    Errors are clustered by family over prompts that all arms answered, so that the interval
    is about other prompts, not about other models.
    """
    found: dict[str, MeanGain] = {}
    if not pairs:
        return found
    first = pairs[0][0].run
    is_same = all(arm.run.table.index.equals(first.table.index) for pair in pairs for arm in pair)
    for criterion in first.criteria:
        after, before = ([pair[side].run.criterion(criterion) for pair in pairs] for side in (0, 1))
        delta = None
        if is_same:
            ours, theirs = np.mean(after, axis=0), np.mean(before, axis=0)
            delta = effect(paired_difference(ours, theirs, first.families))
        levels = [float(np.mean([run.mean() for run in side])) for side in (before, after)]
        found[criterion] = MeanGain(baseline=levels[0], trained=levels[1], delta=delta)
    return found


def _leaks(arms: Sequence[Arm]) -> tuple[Leak, ...]:
    tables = pd.concat([arm.run.table for arm in arms])
    prompts = tables[~tables.index.duplicated()]
    return tuple(
        Leak(name.removeprefix(IN_TRAINING), len(prompts), int(prompts[f"measure/{name}"].sum()))
        for name in arms[0].run.measures
        if name.startswith(IN_TRAINING)
    )


def _thinking_signs(arm: Arm) -> Iterator[tuple[str, str]]:
    rate = arm.run.mean("is_thinking")
    if arm.is_thinking_asked and rate < LOW_THINK_RATE:
        yield (
            "low_think_rate",
            f"asked to think, it wrote a real think block in {rate:.1%} of its answers: read it "
            "as an arm without thinking.",
        )


def _signs(
    arm: Arm, baseline: Arm | None, compared: ArmComparison | None, *, criterion: str
) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each sign that an arm shows beside its baseline."""
    if baseline is None or compared is None:
        return
    yield from _hollow_signs(compared, criterion)
    judged = compared.deltas[criterion]
    before, after = _means(arm, baseline, "num_values")
    if after < COLLAPSE * before:
        yield "length_collapse", f"documents hold {after:.1f} values, the baseline's {before:.1f}."
    before, after = _means(arm, baseline, "num_characters")
    # Answers that shorten because chatter goes are no collapse: the judged criterion rises then.
    if after < COLLAPSE * before and not judged.low_pp > 0:
        yield (
            "length_collapse",
            f"answers have {after:.0f} characters, the baseline's {before:.0f}, and {criterion} "
            "does not rise.",
        )
    for name, change in compared.measures.items():
        if name.startswith("share/") and change.low > 0:
            before, after = _means(arm, baseline, name)
            kind, (gain, low, high) = name.removeprefix("share/"), (100 * value for value in change)
            yield (
                kind,
                f"{kind.replace('_', ' ')}: {before:.1%} -> {after:.1%} of readable documents, "
                f"{gain:+.1f} pp [{low:.1f}, {high:.1f}] on the same prompts.",
            )


def _means(arm: Arm, baseline: Arm, measure: str) -> tuple[float, float]:
    """Return a measure before and after."""
    return baseline.run.mean(f"measure/{measure}"), arm.run.mean(f"measure/{measure}")


def _hollow_signs(compared: ArmComparison, criterion: str) -> Iterator[tuple[str, str]]:
    """Say where what is rewarded, or easier, rises and the judged criterion does not."""
    judged, names = compared.deltas[criterion], list(compared.deltas)
    criteria = [
        f"{name} {effect_text(compared.deltas[name])}"
        for name in names[: names.index(criterion)]
        if compared.deltas[name].low_pp > 0
    ]
    rewards = [
        f"the {name.removeprefix('reward/')} reward {found.estimate:+.3f} "
        f"[{found.low:.3f}, {found.high:.3f}]"
        for name, found in compared.measures.items()
        if name.startswith("reward/") and found.low > 0
    ]
    if judged.high_pp < 0 and (criteria or rewards):
        listed = ", ".join(criteria + rewards)
        yield (
            "reward_hacking",
            f"{criterion} falls {effect_text(judged)} while this rises: {listed}.",
        )
    elif criteria and not (judged.low_pp > 0 or judged.high_pp < 0):
        yield (
            "hollow_gain",
            f"{', '.join(criteria)}, but {criterion} {effect_text(judged)}: "
            "what rose is not what counts.",
        )
