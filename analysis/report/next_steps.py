"""What to run next, read off the verdicts: plain sentences, with a command where there is one.

Rules only, in the order of their urgency: what is missing, what makes results unreadable,
what would decide, what to look at. Nothing here is a verdict.
"""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.cells import CellVerdict
from analysis.differences import MIN_SEEDS
from analysis.records import RunState
from analysis.report.run_rows import Row
from analysis.sweep import SweepVerdicts
from analysis.trials import TrialVerdict
from analysis.verdicts import Word

__all__ = ["NextStep", "next_steps"]

WANTED_PP = 5.0
"""A design that detects no smaller gain than this is called wide, in percentage points."""
MANY_TRUNCATED = 0.1
MANY_ZERO_STD = 0.5
NAMED = 3
"""Trials that a sentence names; of more it says how many."""


class NextStep(NamedTuple):
    """One thing to do."""

    text: str
    command: str | None = None


def next_steps(
    verdicts: SweepVerdicts, folder: Path, *, zero_std_groups: Sequence[Row] = ()
) -> list[NextStep]:
    """Say what to do next.

    Args:
        verdicts: The sweep's.
        folder: The sweep's, for commands.
        zero_std_groups: The table of that name: the share of groups without any spread.
    """
    steps = [
        *_missing(verdicts, folder),
        *_out_of_reach(verdicts),
        *_unreadable(verdicts),
        *_without_signal(zero_std_groups),
        *_undecided(verdicts, folder),
        *_too_wide(verdicts),
        *_worse(verdicts),
        *_better(verdicts, folder),
    ]
    return steps or [NextStep("Nothing is left open: every planned comparison is decided.")]


def _missing(verdicts: SweepVerdicts, folder: Path) -> Iterator[NextStep]:
    counts = verdicts.states
    is_open = counts[RunState.PENDING] + counts[RunState.RUNNING]
    lost = [trial for trial in verdicts.trials if trial.state in (RunState.FAILED, RunState.KILLED)]
    if not verdicts.trials:
        yield NextStep(
            "The study has not come to its confirmation, so nothing is decided. If nothing runs "
            "the sweep, go on with it; then make this report again.",
            _run(verdicts, folder, "--resume"),
        )
    if is_open:
        yield NextStep(
            f"{_count(is_open, 'trial')} of {len(verdicts.trials)} {_have(is_open)} not ended. If "
            "nothing runs the sweep, go on with it; then make this report again.",
            _run(verdicts, folder, "--resume"),
        )
    if lost:
        yield NextStep(
            f"{_count(len(lost), 'trial')} did not finish: {_reasons(lost)}. Run again what can be "
            "mended: a missing trial keeps its place among the planned comparisons and makes the "
            "others harder to decide.",
            _run(verdicts, folder, "--resume", "--retry"),
        )
    finished = (trial for trial in verdicts.trials if trial.state is RunState.FINISHED)
    alone = [trial for trial in finished if trial.comparison is None]
    if alone:
        yield NextStep(
            f"{_count(len(alone), 'trial')} finished but cannot be compared: {_reasons(alone)}. "
            "Resuming the sweep measures baselines that are missing.",
            _run(verdicts, folder, "--resume"),
        )


def _out_of_reach(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    """Say so where nobody, trained or not, ever reaches the primary rung."""
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    missed = [
        rung for rung in verdicts.rungs if not any(_reaches(trial, rung) for trial in finished)
    ]
    if finished and verdicts.primary_rung in missed:
        yield NextStep(
            f"No answer reached {verdicts.primary_rung}, untrained or trained, so nothing is "
            f"decided by it. The lowest rung that nobody reaches is {missed[0]}: show its form in "
            "the prompt or pay for steps towards it, before more seeds or steps."
        )


def _reaches(trial: TrialVerdict, rung: str) -> bool:
    rates = [trial.result.rates[rung]] if trial.result is not None else []
    if trial.comparison is not None:
        rates += [tier.baseline for tier in trial.comparison.tiers if tier.rung == rung]
    return any(rate.estimate > 0 for rate in rates)


def _unreadable(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    lazy = [trial for trial in finished if trial.result and trial.result.is_think_rate_low]
    if lazy:
        yield NextStep(
            f"{_names(lazy)} {_was(len(lazy))} asked to think and mostly did not. Read them as "
            "trials without thinking; a model that cannot write a think block has to be shown "
            "some before a reward can strengthen them."
        )
    tied = [trial for trial in verdicts.trials if trial.ties]
    if tied:
        parts = sorted({part for trial in tied for part in trial.ties})
        yield NextStep(
            f"{_names(tied)} put no weight on {', '.join(parts)}. Give it some, unless that is "
            "what the sweep is about: without it training cannot tell some wrong answers from "
            "right ones."
        )
    cut = [trial for trial in finished if trial.result and _truncated(trial) > MANY_TRUNCATED]
    if cut:
        worst = max(_truncated(trial) for trial in cut)
        yield NextStep(
            f"Up to {worst:.0%} of the completions of {_names(cut)} reach the token limit. Raise "
            "evaluation.max_new_tokens, so that the limit is not what is measured."
        )


def _without_signal(rows: Sequence[Row]) -> Iterator[NextStep]:
    last = {str(row["cell"]): float(row["mean"]) for row in rows}
    flat = [cell for cell, share in last.items() if share > MANY_ZERO_STD]
    if flat:
        listed = ", ".join(flat[:NAMED]) + (", ..." if len(flat) > NAMED else "")
        yield NextStep(
            f"At the end of training more than {MANY_ZERO_STD:.0%} of the groups of {listed} earn "
            "the same for all their completions, which teaches nothing. Mix in prompts that the "
            "model solves sometimes, or raise grpo.num_generations or grpo.temperature."
        )


def _undecided(verdicts: SweepVerdicts, folder: Path) -> Iterator[NextStep]:
    few = [cell for cell in verdicts.cells if cell.seed_rates and cell.num_planned < MIN_SEEDS]
    if not few:
        return
    seeds = sorted({trial.plan.seed for trial in verdicts.trials})
    fresh = (seed for seed in range(len(seeds) + MIN_SEEDS) if seed not in seeds)
    while len(seeds) < MIN_SEEDS:
        seeds.append(next(fresh))
    yield NextStep(
        f"{_cells(few)} {'has' if len(few) == 1 else 'have'} fewer than {MIN_SEEDS} seeds. What "
        "helped may have been luck of one run: train more seeds, and the report says what the "
        "recipe gives. Trials that have finished are kept.",
        _run(verdicts, folder, "--set", f"matrix.seed={seeds}".replace(" ", ""), "--resume"),
    )


def _too_wide(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    unclear = [
        trial
        for trial in verdicts.trials
        if trial.verdict.word is Word.UNCLEAR
        and trial.result is not None
        and (trial.verdict.detectable_pp or 0.0) > WANTED_PP
    ]
    if not unclear:
        return
    widest = max(unclear, key=lambda trial: trial.verdict.detectable_pp or 0.0)
    detectable, result = widest.verdict.detectable_pp, widest.result
    if detectable is None or result is None or math.isnan(detectable):
        return
    factor = (detectable / WANTED_PP) ** 2
    yield NextStep(
        f"{_names(unclear)} {'shows' if len(unclear) == 1 else 'show'} no clear difference, and "
        f"this design sees none below {detectable:.1f} points. To see {WANTED_PP:.0f} points, "
        f"evaluate on about {factor:.1f} times as many prompts, of as many new families (now "
        f"{result.num_prompts} prompts of {result.num_families} families)."
    )


def _worse(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    worse = [trial for trial in verdicts.trials if trial.verdict.word is Word.WORSE]
    if worse:
        yield NextStep(
            f"{_names(worse)} ended worse than untrained. Read the regressed prompts in the "
            "completion browser and compare their error classes before training it again: a "
            "lower learning_rate or fewer steps is the usual remedy."
        )


def _better(verdicts: SweepVerdicts, folder: Path) -> Iterator[NextStep]:
    cells = [cell for cell in verdicts.cells if cell.verdict.word is Word.BETTER]
    trials = [trial for trial in verdicts.trials if trial.verdict.word is Word.BETTER]
    if not trials:
        return
    best = max(trials, key=lambda t: t.verdict.effect.estimate_pp if t.verdict.effect else 0.0)
    confirmed = f" {_cells(cells)} hold over seeds." if cells else ""
    yield NextStep(
        f"{_names(trials)} ended better than untrained.{confirmed} The gain is measured on the "
        "task's own prompts: try the adapter of the one that gained most on prompts of yours.",
        shlex.join(
            [
                "strictune",
                "evaluate",
                "--model",
                best.plan.model,
                "--adapter",
                str(folder / "trials" / best.plan.trial_id / "adapter" / "final"),
                "--suite",
                "YOURS.jsonl",
                *(["--thinking"] if best.plan.thinking else []),
            ]
        ),
    )


def _truncated(trial: TrialVerdict) -> float:
    return trial.result.truncated_frac if trial.result else 0.0


def _reasons(trials: Sequence[TrialVerdict]) -> str:
    reasons = sorted({str(trial.reason).rstrip(".") for trial in trials})
    return "; ".join(reasons[:NAMED]) + ("; ..." if len(reasons) > NAMED else "")


def _names(trials: Sequence[TrialVerdict]) -> str:
    return _listed([trial.plan.name for trial in trials], "trials")


def _cells(cells: Sequence[CellVerdict]) -> str:
    return _listed([cell.cell for cell in cells], "cells")


def _listed(names: Sequence[str], what: str) -> str:
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} {what}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _run(verdicts: SweepVerdicts, folder: Path, *options: str) -> str | None:
    """Return the command; None for a copy, since a sweep's folder has the sweep's name."""
    if folder.name != verdicts.sweep:
        return None
    out = [] if str(folder.parent) == "runs" else ["--out", str(folder.parent)]
    return shlex.join(["strictune", "run", str(folder / "sweep.yaml"), *options, *out])
