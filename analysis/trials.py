"""One trial against its baseline: rates, the gain, and where it came from.

Only the gain on the primary criterion carries a verdict. Other criteria and difficulties have
intervals and no p: these comparisons were not planned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.decomposition import decompose_gain, gain_chain
from analysis.differences import Difference, Discordance, discordance
from analysis.measured import Interval, Measured, SampledRate, check_comparable, difference, measure
from analysis.records import RunRecord, RunState, SweepRecords
from analysis.verdicts import Effect, Verdict, adapter_verdict, effect, no_verdict
from strictune.errors import StorageError, StrictuneError
from strictune.records import Plan, PlannedTrial

__all__ = [
    "LOW_THINK_RATE",
    "Comparison",
    "Gain",
    "TrialResult",
    "TrialVerdict",
    "compare_trial",
    "run_discordance",
    "trial_verdict",
]

LOW_THINK_RATE = 0.5
"""A trial that was asked to think and does so less often is flagged in every table."""


class Tier(NamedTuple):
    """One criterion on one difficulty, before and after; exploratory."""

    difficulty: str
    criterion: str
    num_prompts: int
    baseline: Interval
    trial: Interval
    delta: Effect


class GainShare(NamedTuple):
    """One part's share of the gain on the primary criterion; exploratory."""

    part: str
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The results of a finished trial."""

    num_prompts: int
    num_families: int
    num_completions: int
    rates: dict[str, Interval]
    """Pass@1 of every criterion."""
    think_rate: float
    is_think_rate_low: bool
    """It was asked to think and does so for fewer than half of the prompts."""
    completion_tokens_mean: float
    truncated_frac: float
    dtype: str
    """The precision of the computation."""
    missing_frac: float
    """Completions that could not be scored, e.g. as a judge failed: they count in no rate."""
    samples: tuple[SampledRate, ...]
    """Of the primary criterion, for k up to the fewest samples of a prompt; empty for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonTable:
    """A trial beside its baseline."""

    baseline: str
    """The baseline's folder name."""
    rates: dict[str, Interval]
    """The baseline's Pass@1 of every criterion."""
    missing_frac: float
    """The baseline's completions that could not be scored."""
    deltas: dict[str, Effect]
    """Trial minus baseline; all but the primary criterion are exploratory."""
    tiers: tuple[Tier, ...]
    shares: tuple[GainShare, ...]
    """Empty for a task that declares no chain of criteria."""
    discordance: Discordance | None
    """Of the primary criterion, with one sample per prompt on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialVerdict:
    """One row of the sweep's table."""

    plan: PlannedTrial
    ties: tuple[str, ...]
    """Decisive reward components without weight; such a trial is marked."""
    state: RunState
    reason: str | None
    """Why there is no result, where there is none."""
    seconds: float | None
    result: TrialResult | None
    comparison: ComparisonTable | None
    verdict: Verdict


class Gain(NamedTuple):
    """A finished trial beside its baseline."""

    trial: Measured
    baseline: Measured
    difference: Difference
    """On the primary criterion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A planned trial with its baseline, before the verdict, which needs all trials."""

    plan: PlannedTrial
    record: RunRecord
    trial: Measured | None = None
    """None unless it finished."""
    gain: Gain | None = None
    """None without a baseline that it may be compared with."""
    problem: str | None = None
    """Why there is no gain, where there is none."""


def compare_trial(sweep: SweepRecords, planned: PlannedTrial) -> Comparison:
    """Compare a planned trial with its baseline.

    A run that was not scored on all criteria of the plan cannot be used.
    """
    plan = sweep.plan
    record = RunRecord(folder=sweep.folder, state=RunState.PENDING)
    trial: Measured | None = None
    try:
        record = sweep.trial(planned.trial_id)
        if record.state is not RunState.FINISHED:
            return Comparison(plan=planned, record=record, problem=f"{record.standing}.")
        trial = _scored(measure(record), plan)
        baseline = _scored(measure(sweep.run(record.baseline_folder)), plan)
        check_comparable(trial, baseline, is_gain=True)
    except StrictuneError as error:
        return Comparison(plan=planned, record=record, trial=trial, problem=str(error))
    gain = Gain(trial, baseline, difference(trial, baseline, plan.primary_criterion))
    return Comparison(plan=planned, record=record, trial=trial, gain=gain)


def run_discordance(ours: Measured, theirs: Measured, criterion: str) -> Discordance | None:
    """Count the prompts that one run alone answers rightly; None with several samples a prompt."""
    if any(run.num_completions != len(run.table) for run in (ours, theirs)):
        return None
    return discordance(ours.criterion(criterion) > 0.5, theirs.criterion(criterion) > 0.5)


def trial_verdict(
    compared: Comparison, plan: Plan, *, adjusted_p: float, ties: tuple[str, ...] = ()
) -> TrialVerdict:
    """Turn a comparison into a row of the table.

    Args:
        compared: From ``compare_trial``.
        plan: Names the criteria and fixes the size of the Holm family.
        adjusted_p: After Holm over all planned trials; NaN without a gain.
        ties: Decisive reward components without weight.
    """
    gain = compared.gain
    if gain is None:
        verdict = no_verdict(compared.problem or "no baseline")
    else:
        verdict = adapter_verdict(
            gain.difference, adjusted_p=adjusted_p, num_planned=len(plan.trials)
        )
    return TrialVerdict(
        plan=compared.plan,
        ties=ties,
        state=compared.record.state,
        reason=compared.problem,
        seconds=compared.record.seconds,
        result=_result(compared, plan),
        comparison=None if gain is None else _table(gain, plan, thinking=compared.plan.thinking),
        verdict=verdict,
    )


def _scored(run: Measured, plan: Plan) -> Measured:
    """Check that a run has answers, scored on every criterion of the plan."""
    file = run.record.samples_file
    if run.table.empty:
        raise StorageError(f"{file}: holds no answers. Evaluate this run again.")
    missing = [criterion for criterion in plan.criteria if criterion not in run.criteria]
    if missing:
        raise StorageError(
            f"{file}: not scored on {', '.join(missing)}, which plan.json names. "
            "Evaluate this run again."
        )
    return run


def _result(compared: Comparison, plan: Plan) -> TrialResult | None:
    trial = compared.trial
    if trial is None:
        return None
    think_rate = trial.mean("is_thinking")
    return TrialResult(
        num_prompts=len(trial.table),
        num_families=len(set(trial.families)),
        num_completions=trial.num_completions,
        rates={criterion: trial.rate(criterion) for criterion in plan.criteria},
        think_rate=think_rate,
        is_think_rate_low=compared.plan.thinking and think_rate < LOW_THINK_RATE,
        completion_tokens_mean=trial.mean("num_tokens"),
        truncated_frac=trial.mean("is_truncated"),
        dtype=str(trial.record.baseline_key["dtype"]),
        missing_frac=trial.record.missing_frac,
        samples=trial.sampled_rates(plan.primary_criterion),
    )


def _table(gain: Gain, plan: Plan, *, thinking: bool) -> ComparisonTable:
    trial, baseline, _ = gain
    return ComparisonTable(
        baseline=baseline.record.folder.name,
        rates={criterion: baseline.rate(criterion) for criterion in plan.criteria},
        missing_frac=baseline.record.missing_frac,
        deltas={
            criterion: effect(difference(trial, baseline, criterion)) for criterion in plan.criteria
        },
        tiers=_tiers(trial, baseline, plan.criteria),
        shares=_shares(trial, baseline, plan, thinking=thinking),
        discordance=run_discordance(trial, baseline, plan.primary_criterion),
    )


def _tiers(trial: Measured, baseline: Measured, criteria: Sequence[str]) -> tuple[Tier, ...]:
    found = []
    for name in trial.table["difficulty"].unique():
        ours, theirs = trial.only(name), baseline.only(name)
        for criterion in criteria:
            rates = theirs.rate(criterion), ours.rate(criterion)
            delta = effect(difference(ours, theirs, criterion))
            found.append(Tier(str(name), criterion, len(ours.table), *rates, delta))
    return tuple(found)


def _shares(
    trial: Measured, baseline: Measured, plan: Plan, *, thinking: bool
) -> tuple[GainShare, ...]:
    chain = gain_chain(plan.task, thinking=thinking)
    if not chain or chain[-1].criterion != plan.primary_criterion:
        return ()
    sides: list[Mapping[str, np.ndarray]] = [
        {link.criterion: side.criterion(link.criterion) for link in chain}
        for side in (baseline, trial)
    ]
    families = trial.families
    df = np.asarray(len(set(families)) - 1 or np.nan)
    found = []
    for share in decompose_gain(sides[0], sides[1], families, chain=chain):
        error = np.asarray(share.standard_error)
        difference = Difference(np.asarray(share.estimate), error, df, p=np.asarray(np.nan))
        found.append(GainShare(share.part, effect(difference)))
    return tuple(found)
