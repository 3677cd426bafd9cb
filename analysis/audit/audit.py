"""An audit: what recorded completions of somebody's runs show, from a table of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.audit.arms import Arm, BaselineIs, baselines_of, read_arms
from analysis.audit.comparisons import (
    ArmComparison,
    Contrast,
    MeanGain,
    compare_with_baselines,
    contrasts,
    mean_gains,
    rungs_of,
)
from analysis.audit.signs import Sign, signs_of
from analysis.measured import Interval
from strictune.errors import SpecError

__all__ = ["ArmSummary", "Audit", "Leak", "audit_completions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm."""

    arm: str
    columns: dict[str, str]
    is_baseline: bool
    num_completions: int
    num_prompts: int
    num_families: int
    counts: dict[str, int]
    """Completions on each rung."""
    rates: dict[str, Interval]
    """Pass@1 of every rung, over prompts."""
    is_thinking_asked: bool
    think_rate: float
    characters_mean: float
    values_mean: float
    """Values of a readable document that are no containers; NaN without one."""
    rewards: dict[str, float]
    shares: dict[str, float]
    """Symptoms; NaN where no completion can show one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """How much of the evaluation was met in training."""

    kind: str
    """``prompt``: the same text but for case and white space; ``skeleton``: the same schema
    but for names, literals and numbers."""
    num_prompts: int
    """Different prompts of the evaluation."""
    num_in_training: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Everything that an audit says."""

    rung: str
    """The judged one."""
    num_completions: int
    num_prompts: int
    """Different prompts."""
    num_families: int
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[ArmComparison, ...]
    without_baseline: tuple[str, ...]
    """Trained arms that no baseline agrees with; empty if no baseline was asked for."""
    mean_gains: dict[str, MeanGain]
    """Each rung over all arms that have a baseline."""
    contrasts: tuple[Contrast, ...]
    signs: tuple[Sign, ...]
    leaks: tuple[Leak, ...]


def audit_completions(
    rows: pd.DataFrame,
    *,
    rung: str,
    baseline: BaselineIs | None = None,
    contrast_columns: Sequence[str] = (),
) -> Audit:
    """Audit a table of completions.

    Args:
        rows: One row a completion: ``arm/<column>``, prompt_id, family, is_thinking_asked,
            is_thinking, num_characters, num_values, ``rung/``, ``reward/``, ``share/`` and,
            where a training file was given, ``in_training/`` columns.
        rung: The rung that verdicts are about.
        baseline: Which arms were not trained.
        contrast_columns: Arms that differ in one of these alone are compared.

    Raises:
        SpecError: A column or value is unknown, or arms cannot be compared.
    """
    columns = [str(name)[4:] for name in rows.columns if str(name).startswith("arm/")]
    _check_columns(columns, baseline, contrast_columns)
    arms = read_arms(rows)
    if rung not in rungs_of(arms[0]):
        raise SpecError(f"--rung {rung}: expected one of {', '.join(rungs_of(arms[0]))}.")
    baselines = {} if baseline is None else baselines_of(arms, baseline)
    comparisons = compare_with_baselines(arms, baselines, rung=rung)
    is_baseline = {
        arm.name: baseline is not None and arm.columns[baseline.column] == baseline.value
        for arm in arms
    }
    compared = {found.arm: found for found in comparisons}
    return Audit(
        rung=rung,
        num_completions=len(rows),
        num_prompts=rows["prompt_id"].nunique(),
        num_families=rows["family"].nunique(),
        arms=tuple(_summary(arm, is_baseline=is_baseline[arm.name]) for arm in arms),
        comparisons=comparisons,
        without_baseline=tuple(
            arm.name
            for arm in arms
            if baseline is not None and not is_baseline[arm.name] and arm.name not in baselines
        ),
        mean_gains=mean_gains(arms, baselines),
        contrasts=tuple(
            found for column in contrast_columns for found in contrasts(arms, column, rung=rung)
        ),
        signs=tuple(
            sign
            for arm in arms
            for sign in signs_of(arm, baselines.get(arm.name), compared.get(arm.name), rung=rung)
        ),
        leaks=_leaks(rows),
    )


def _check_columns(
    columns: Sequence[str], baseline: BaselineIs | None, contrast_columns: Sequence[str]
) -> None:
    named = ", ".join(columns) or "no column"
    if baseline is not None and baseline.column not in columns:
        raise SpecError(
            f"--baseline {baseline.column}={baseline.value}: {baseline.column} does not name the "
            f"arms, {named} does. Add it to --by."
        )
    for column in contrast_columns:
        if column not in columns:
            raise SpecError(
                f"--contrast {column}: does not name the arms, {named} does. Add it to --by."
            )
        if baseline is not None and column == baseline.column:
            raise SpecError(
                f"--contrast {column}: arms are compared with their baselines by this column "
                "already. Name another one, or leave --baseline out."
            )


def _summary(arm: Arm, *, is_baseline: bool) -> ArmSummary:
    names = [str(column) for column in arm.table.columns]
    means = {
        prefix: {
            name.removeprefix(prefix): arm.mean(name) for name in names if name.startswith(prefix)
        }
        for prefix in ("reward/", "share/")
    }
    return ArmSummary(
        arm=arm.name,
        columns=arm.columns,
        is_baseline=is_baseline,
        num_completions=arm.num_completions,
        num_prompts=len(arm.table),
        num_families=arm.table["family"].nunique(),
        counts=arm.counts,
        rates={rung: arm.rate(rung) for rung in rungs_of(arm)},
        is_thinking_asked=arm.is_thinking_asked,
        think_rate=arm.mean("is_thinking"),
        characters_mean=arm.mean("num_characters"),
        values_mean=arm.mean("num_values"),
        rewards=means["reward/"],
        shares=means["share/"],
    )


def _leaks(rows: pd.DataFrame) -> tuple[Leak, ...]:
    prompts = rows.drop_duplicates("prompt_id")
    return tuple(
        Leak(
            kind=str(name).removeprefix("in_training/"),
            num_prompts=len(prompts),
            num_in_training=int(prompts[name].sum()),
        )
        for name in rows.columns
        if str(name).startswith("in_training/")
    )
