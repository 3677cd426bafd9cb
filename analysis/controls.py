"""The arms that trained models are held against: would a grammar, or examples, have done it?

Beside its baseline each untrained model may have been measured under the grammar of its
prompts' answers (``strictune evaluate --sweep SWEEP --constrain``), and cells may be trained on
gold completions instead of rewards (``method: sft``).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.cells import stack
from analysis.differences import MIN_SEEDS, paired_difference, recipe_difference
from analysis.keys import differing_parts
from analysis.measured import Interval, Measured, MeasuredTrial, difference, measure
from analysis.pairs import comparison_problem
from analysis.rates import wilson_rate
from analysis.records import PlannedTrial, RunState, check_same_prompts, read_run
from analysis.speeds import training_totals
from analysis.summaries import decoding_speed
from analysis.verdicts import Effect, Verdict, compared_verdict, effect

__all__ = ["CONTROLS", "Arm", "ArmKind", "control_arms"]

CONTROLS = "controls"
"""The folder of a sweep that holds its untrained models under a grammar."""
GRAMMAR = "grammar"
"""The part of the keys in which a control differs from its baseline."""

_LETTERS = 12
"""Of a part of a key: enough for words, and to tell two hashes apart."""

ArmKind = Literal["untrained", "grammar", "sft", "grpo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One row of the comparison, for one baseline."""

    model: str
    thinking: bool
    kind: ArmKind
    name: str
    """Ends with what tells its baseline from others of the model, e.g. ``quantization nf4``."""
    num_seeds: int | None
    """Finished seeds; None for a model that was not trained."""
    rate: Interval
    """Pass@1 on the primary rung, over all seeds together."""
    verdict: Verdict | None
    """Against the baseline: the cell's, or that of the grammar; None for the baseline."""
    against_grammar: Effect | None = None
    """A trained cell minus the untrained model under the grammar, where that was measured; with
    three seeds about the recipe, else about these runs. Exploratory."""
    completion_tokens: float
    """That training read, mean over the seeds; NaN where nothing was trained or recorded."""
    training_s: float
    """Of the optimizer steps, mean over the seeds."""
    tokens_per_s: float
    """Of the final evaluation, mean over the seeds."""


def control_arms(
    sweep_dir: Path,
    trials: Sequence[MeasuredTrial],
    *,
    rung: str,
    verdicts: Mapping[str, Verdict],
) -> tuple[Arm, ...]:
    """Put baselines, grammars, supervised and learned cells beside each other.

    Args:
        sweep_dir: The sweep's folder.
        trials: Its finished trials, in the order of the plan.
        rung: The primary one.
        verdicts: Of each cell against its baseline, by the cell's name.

    Returns:
        The arms of each baseline that has a control, in the order of the plan; empty without one.
        Runs that were measured otherwise than their baseline are in none of them.

    Raises:
        StorageError: A control is there but cannot be understood.
        SpecError: It was measured on other prompts than its baseline.
    """
    controls = _read_controls(sweep_dir)
    groups = _by_baseline(trials)
    arms: list[Arm] = []
    for members in groups:
        baseline = members[0].baseline
        held = [one for one in controls if baseline is not None and _is_control(one, baseline)]
        if held or any(one.plan.method == "sft" for one in members):
            setting = _setting(members[0], [others[0] for others in groups])
            found = (
                *_untrained_arms(members[0].plan, baseline, held, rung),
                *_trained_arms(members, rung, verdicts, held=held[0] if held else None),
            )
            arms += [replace(arm, name=f"{arm.name}{setting}") for arm in found]
    return tuple(arms)


def _by_baseline(trials: Sequence[MeasuredTrial]) -> list[list[MeasuredTrial]]:
    """Gather the runs of each baseline; those measured otherwise than it are left out."""
    groups: dict[Path, list[MeasuredTrial]] = {}
    for found in trials:
        groups.setdefault(found.trial.record.baseline_folder, []).append(found)
    return list(map(_measured_alike, groups.values()))


def _measured_alike(members: Sequence[MeasuredTrial]) -> list[MeasuredTrial]:
    """Keep the runs that have the baseline beside them, or, without one, those like the first.

    A baseline stands beside a run only if keys and prompts of the two are the same.
    """
    compared = [one for one in members if one.baseline is not None]
    first = members[0].trial
    return compared or [one for one in members if comparison_problem((first, one.trial)) is None]


def _setting(one: MeasuredTrial, others: Sequence[MeasuredTrial]) -> str:
    """Return what tells a trial's baseline from others of its model, thinking or not."""
    key = one.trial.record.baseline_key
    differing = dict.fromkeys(
        part
        for other in others
        if (other.plan.model, other.plan.thinking) == (one.plan.model, one.plan.thinking)
        for part in differing_parts(key, other.trial.record.baseline_key)
    )
    return "".join(f", {part} {str(key.get(part))[:_LETTERS]}" for part in differing)


def _read_controls(sweep_dir: Path) -> list[Measured]:
    records = (read_run(path) for path in sorted((sweep_dir / CONTROLS).glob("*")))
    return [measure(record) for record in records if record.state is RunState.FINISHED]


def _is_control(control: Measured, baseline: Measured) -> bool:
    """Whether nothing but the grammar is between two measurements."""
    parts = differing_parts(control.record.baseline_key, baseline.record.baseline_key)
    return list(parts) == [GRAMMAR]


def _untrained_arms(
    plan: PlannedTrial, baseline: Measured | None, held: Sequence[Measured], rung: str
) -> Iterator[Arm]:
    if baseline is None:
        return
    yield _untrained(plan, "untrained", "untrained", baseline, rung, verdict=None)
    for control in held:
        name = "untrained, under the grammar"
        check_same_prompts((control.table, baseline.table), names=(name, "its baseline"))
        found = difference(control, baseline, rung)
        verdict = compared_verdict(found, sides=("the grammar", "the untrained model without it"))
        yield _untrained(plan, "grammar", name, control, rung, verdict=verdict)


def _untrained(
    plan: PlannedTrial,
    kind: ArmKind,
    name: str,
    measured: Measured,
    rung: str,
    *,
    verdict: Verdict | None,
) -> Arm:
    return Arm(
        model=plan.model,
        thinking=plan.thinking,
        kind=kind,
        name=name,
        num_seeds=None,
        rate=measured.rate(rung),
        verdict=verdict,
        completion_tokens=math.nan,
        training_s=math.nan,
        tokens_per_s=decoding_speed(measured.record),
    )


def _trained_arms(
    members: Sequence[MeasuredTrial],
    rung: str,
    verdicts: Mapping[str, Verdict],
    *,
    held: Measured | None,
) -> Iterator[Arm]:
    """Yield supervised cells before learned ones, else in the order of the plan."""
    cells: dict[str, list[MeasuredTrial]] = {}
    for one in members:
        cells.setdefault(one.plan.cell, []).append(one)
    for name, seeds in sorted(cells.items(), key=lambda item: item[1][0].plan.method != "sft"):
        plan = seeds[0].plan
        runs = [one.trial for one in seeds]
        totals = [training_totals(run.record.folder) for run in runs]
        yield Arm(
            model=plan.model,
            thinking=plan.thinking,
            kind="sft" if plan.method == "sft" else "grpo",
            name=name,
            num_seeds=len(seeds),
            rate=_rate(runs, rung),
            verdict=verdicts.get(name),
            against_grammar=None if held is None else _against(runs, held, rung),
            completion_tokens=_mean([found.completion_tokens for found in totals]),
            training_s=_mean([found.seconds for found in totals]),
            tokens_per_s=_mean([decoding_speed(run.record) for run in runs]),
        )


def _against(runs: Sequence[Measured], held: Measured, rung: str) -> Effect:
    """Take a cell's difference to a measurement of the untrained model, on the same prompts."""
    ours, theirs = stack(runs, rung), held.rung(rung)
    if len(runs) < MIN_SEEDS:
        return effect(paired_difference(ours.mean(axis=0), theirs, held.families))
    return effect(recipe_difference(ours, theirs, held.families, is_theirs_baseline=True))


def _rate(runs: Sequence[Measured], rung: str) -> Interval:
    """Average over seeds, prompt by prompt; the interval is about these runs."""
    found = wilson_rate(
        stack(runs, rung).mean(axis=0),
        runs[0].families,
        num_completions=sum(run.num_completions for run in runs),
        level=0.95,
    )
    return Interval(float(found.estimate), float(found.low), float(found.high))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
