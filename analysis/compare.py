"""Compares two runs on the same prompts, and chooses the best adapter of each base model.

A candidate must be better than its baseline by its verdict; among several the one with the best
validation rate is taken, so that the final split, on which the verdict stands, has not chosen it.
It replaces an earlier best only where a comparison of the two says better.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from analysis.answers import field_rows
from analysis.differences import Discordance, paired_difference
from analysis.measured import (
    Interval,
    Measured,
    check_baseline_key,
    check_comparable,
    difference,
    differing_parts,
    measure,
)
from analysis.records import last_value, read_run
from analysis.sweep import SweepVerdicts
from analysis.tables import Row, rate_text
from analysis.trials import TrialVerdict, run_discordance
from analysis.verdicts import Effect, Verdict, Word, compared_verdict, effect, effect_text
from strictune.errors import SpecError, StorageError, StrictuneError
from strictune.records import TRIALS, read_plan

__all__ = [
    "Challenge",
    "RunComparison",
    "best_adapters",
    "challenge",
    "compare_runs",
    "comparison_lines",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs on one criterion; every difference is the first minus the second."""

    runs: tuple[str, str]
    criterion: str
    num_prompts: int
    num_families: int
    num_completions: tuple[int, int]
    rates: tuple[Interval, Interval]
    verdict: Verdict
    """About these two runs; the comparison was not planned."""
    deltas: dict[str, Effect]
    """All criteria, with intervals; exploratory but for ``criterion``."""
    discordance: Discordance | None
    """With one sample per prompt on both sides."""
    contrast_parts: dict[str, tuple[str, str]]
    """Parts of the baseline keys that differ, with both values: the runs did not start equal."""
    gain_effect: Effect | None
    """Difference of the gains, where the baselines differ and both can be used."""
    fields: list[Row]
    """See ``field_rows``; empty where answers are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Whether an adapter takes the place of the best one so far."""

    is_better: bool
    text: str
    """The verdict, or why there is none."""


def compare_runs(
    ours: Path, theirs: Path, criterion: str | None = None, *, across: Collection[str] = ()
) -> RunComparison:
    """Compare the final results of two runs on the same prompts.

    Args:
        ours: A run's folder, ``<sweep>/trials/<id>`` or ``<sweep>/baselines/<key>``.
        theirs: Another run's folder; it may lie in another sweep.
        criterion: The criterion to judge by; by default the primary criterion of the first run.
        across: Parts of the evaluation key that the comparison is about, e.g. ``grammar``.

    Raises:
        SpecError: The keys forbid the comparison, or the criterion was not scored.
        StorageError: A run has no result.
    """
    first, second = (_measured(folder) for folder in (ours, theirs))
    check_comparable(first, second, is_gain=False, across=across)
    if first.record.is_baseline != second.record.is_baseline:
        check_baseline_key(first.record, second.record, across=across)
    judged = _judged_criterion(first, second, criterion)
    found = difference(first, second, judged)
    names = first.record.folder.name, second.record.folder.name
    if names[0] == names[1]:
        names = str(first.record.folder), str(second.record.folder)
    parts = differing_parts(first.record.baseline_key, second.record.baseline_key)
    return RunComparison(
        runs=names,
        criterion=judged,
        num_prompts=len(first.table),
        num_families=len(set(first.families)),
        num_completions=(first.num_completions, second.num_completions),
        rates=(first.rate(judged), second.rate(judged)),
        verdict=compared_verdict(found, sides=names),
        deltas={
            name: effect(difference(first, second, name))
            for name in first.criteria
            if name in second.criteria
        },
        discordance=run_discordance(first, second, judged),
        contrast_parts=parts,
        gain_effect=_gain_effect(first, second, judged) if parts else None,
        fields=field_rows({names[1]: second, names[0]: first}),
    )


def comparison_lines(compared: RunComparison) -> list[str]:
    """Return the comparison in plain sentences."""
    ours, theirs = compared.runs
    lines = [
        f"{compared.criterion} Pass@1 on {compared.num_prompts} prompts of "
        f"{compared.num_families} families:",
        *(
            f"  {name}: {rate_text(rate)}"
            for name, rate in zip(compared.runs, compared.rates, strict=True)
        ),
        compared.verdict.text,
    ]
    if compared.discordance is not None:
        only = compared.discordance
        lines.append(
            f"Right only in {ours}: {only.num_only_ours}, only in {theirs}: "
            f"{only.num_only_theirs} prompts (McNemar p = {only.mcnemar_p:.3f}, which ignores "
            "families and decides nothing)."
        )
    if compared.contrast_parts:
        lines.append(f"They did not start equal: {', '.join(compared.contrast_parts)} differ.")
    if compared.gain_effect is not None:
        shown = effect_text(compared.gain_effect)
        lines.append(f"Difference of their gains over their baselines: {shown}.")
    return lines


def best_adapters(verdicts: SweepVerdicts, sweep_dir: Path) -> dict[str, TrialVerdict]:
    """Return for each base model the trial that may be its best, if a verdict says better.

    Trials without a validation rate are left out. Of equal rates the first in the plan is taken.
    """
    best: dict[str, TrialVerdict] = {}
    rates: dict[str, float] = {}
    for trial in verdicts.trials:
        if trial.verdict.word is not Word.BETTER:
            continue
        rate = last_value(
            sweep_dir / TRIALS / trial.plan.trial_id, f"eval/{verdicts.primary_criterion}/pass_at_1"
        )
        if rate is not None and rate > rates.get(trial.plan.model, -1.0):
            best[trial.plan.model], rates[trial.plan.model] = trial, rate
    return best


def challenge(ours: Path, theirs: Path) -> Challenge:
    """Compare the final results of a trial with those of the best so far, by their folders.

    Raises:
        StorageError: A run has no result, or it cannot be read.
    """
    try:
        compared = compare_runs(ours, theirs)
    except SpecError as error:
        return Challenge(is_better=False, text=str(error))
    if "model" in compared.contrast_parts or "model_revision" in compared.contrast_parts:
        return Challenge(is_better=False, text="Their base models are not the same.")
    return Challenge(is_better=compared.verdict.word is Word.BETTER, text=compared.verdict.text)


def _measured(folder: Path) -> Measured:
    if not folder.is_dir():
        raise StorageError(
            f"{folder}: there is no such folder. Give a run's folder, "
            "e.g. runs/quickstart/trials/<trial id>."
        )
    found = measure(read_run(folder.resolve()))
    if found.table.empty:
        raise StorageError(f"{found.record.samples_file}: holds no answers. Evaluate it again.")
    return found


def _judged_criterion(first: Measured, second: Measured, criterion: str | None) -> str:
    criterion = criterion or first.record.locked.primary_criterion or _planned_criterion(first)
    for run in (first, second):
        if criterion not in run.criteria:
            scored = ", ".join(run.criteria)
            raise SpecError(
                f"--criterion {criterion}: not scored in {run.record.name}, expected one of "
                f"{scored}."
            )
    return criterion


def _planned_criterion(run: Measured) -> str:
    sweep_dir = run.record.folder.parents[1]
    if not (sweep_dir / "plan.json").exists():
        raise SpecError(
            f"{run.record.name} belongs to no sweep that names a primary criterion. "
            f"Add --criterion, one of {', '.join(run.criteria)}."
        )
    return read_plan(sweep_dir).primary_criterion


def _gain_effect(first: Measured, second: Measured, criterion: str) -> Effect | None:
    """Return the difference of gains of two trials; None where a baseline cannot be used."""
    runs = (first, second)
    if any(run.record.is_baseline for run in runs):
        return None
    gains = []
    for run in runs:
        try:
            baseline = measure(read_run(run.record.baseline_folder))
            check_comparable(run, baseline, is_gain=True)
        except StrictuneError:
            return None
        if criterion not in baseline.criteria:
            return None
        gains.append(run.criterion(criterion) - baseline.criterion(criterion))
    return effect(paired_difference(gains[0], gains[1], first.families), widest=2.0)
