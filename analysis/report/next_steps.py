"""What to run next, read off the verdicts: plain sentences, with a command where there is one.

Rules only, in the order of their urgency: what is missing, what makes results unreadable,
what would decide, what to look at. Nothing here is a verdict.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.records import RunState
from analysis.report.deciding import closing_step, deciding_steps
from analysis.report.step_wording import NextStep, cell_names, run_command, trial_names
from analysis.sweep import SweepVerdicts
from analysis.trials import TrialVerdict
from analysis.verdicts import Word
from analysis.wording import NAMED

__all__ = ["NextStep", "next_steps"]

MANY_TRUNCATED = 0.1
MANY_ZERO_STD = 0.5


def next_steps(
    verdicts: SweepVerdicts,
    folder: Path,
    *,
    flat_groups: Mapping[str, float] | None = None,
    is_search: bool = False,
) -> list[NextStep]:
    """Say what to do next.

    Args:
        verdicts: The sweep's.
        folder: The sweep's, for commands.
        flat_groups: Each cell's share of groups without any spread, at the end of training.
        is_search: The trials confirm the winners of studies.
    """
    steps = [
        *_missing(verdicts, folder),
        *_out_of_reach(verdicts),
        *_unreadable(verdicts),
        *_without_signal(flat_groups or {}),
        *deciding_steps(verdicts, folder, is_search=is_search),
        *_worse(verdicts),
        *_better(verdicts, folder),
    ]
    return steps or [closing_step(verdicts)]


def _missing(verdicts: SweepVerdicts, folder: Path) -> Iterator[NextStep]:
    counts = verdicts.states
    is_open = counts[RunState.PENDING] + counts[RunState.RUNNING]
    lost = [trial for trial in verdicts.trials if trial.state in (RunState.FAILED, RunState.KILLED)]
    if not verdicts.trials:
        yield NextStep(
            "The study has not come to its confirmation, so nothing is decided. If nothing runs "
            "the sweep, go on with it; then make this report again.",
            run_command(verdicts, folder, "--resume"),
        )
    if is_open:
        yield NextStep(
            f"{_count(is_open, 'trial')} of {len(verdicts.trials)} {_have(is_open)} not ended. If "
            "nothing runs the sweep, go on with it; then make this report again.",
            run_command(verdicts, folder, "--resume"),
        )
    if lost:
        yield NextStep(
            f"{_count(len(lost), 'trial')} did not finish: {_reasons(lost)}. Run again what can be "
            "mended: a missing trial keeps its place among the planned comparisons and makes the "
            "others harder to decide.",
            run_command(verdicts, folder, "--resume", "--retry"),
        )
    finished = (trial for trial in verdicts.trials if trial.state is RunState.FINISHED)
    alone = [trial for trial in finished if trial.comparison is None]
    if alone:
        yield NextStep(
            f"{_count(len(alone), 'trial')} finished but cannot be compared: {_reasons(alone)}. "
            "Resuming the sweep measures baselines that are missing.",
            run_command(verdicts, folder, "--resume"),
        )


def _out_of_reach(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    """Say so where nobody, trained or not, ever reaches the primary rung."""
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    missed = [
        rung for rung in verdicts.rungs if not any(_reaches(trial, rung) for trial in finished)
    ]
    if finished and verdicts.primary_rung in missed:
        is_whole = all(trial.comparison is not None for trial in finished)
        who = (
            f"No answer reached {verdicts.primary_rung}, untrained or trained"
            if is_whole
            else f"No trained answer reached {verdicts.primary_rung}, and not every baseline is "
            "measured"
        )
        yield NextStep(
            f"{who}, so nothing is decided by it. The lowest rung that nobody is known to reach is "
            f"{missed[0]}: show its form in the prompt or pay for steps towards it, before more "
            "seeds or steps."
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
            f"{trial_names(lazy)} {_was(len(lazy))} asked to think and mostly did not. Read them "
            "as trials without thinking; a model that cannot write a think block has to be shown "
            "some before a reward can strengthen them."
        )
    tied = [trial for trial in verdicts.trials if trial.ties]
    if tied:
        parts = sorted({part for trial in tied for part in trial.ties})
        yield NextStep(
            f"{trial_names(tied)} put no weight on {', '.join(parts)}. Give it some, unless that "
            "is what the sweep is about: without it training cannot tell some wrong answers from "
            "right ones."
        )
    cut = [trial for trial in finished if trial.result and _truncated(trial) > MANY_TRUNCATED]
    if cut:
        worst = max(_truncated(trial) for trial in cut)
        yield NextStep(
            f"Up to {worst:.0%} of the completions of {trial_names(cut)} reach the token limit. "
            "Raise evaluation.max_new_tokens, so that the limit is not what is measured."
        )


def _without_signal(flat_groups: Mapping[str, float]) -> Iterator[NextStep]:
    flat = [cell for cell, share in flat_groups.items() if share > MANY_ZERO_STD]
    if flat:
        listed = ", ".join(flat[:NAMED]) + (", ..." if len(flat) > NAMED else "")
        yield NextStep(
            f"At the end of training more than {MANY_ZERO_STD:.0%} of the groups of {listed} earn "
            "the same for all their completions, which teaches nothing. Mix in prompts that the "
            "model solves sometimes, or raise grpo.num_generations or grpo.temperature."
        )


def _worse(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    worse = [trial for trial in verdicts.trials if trial.verdict.word is Word.WORSE]
    if worse:
        yield NextStep(
            f"{trial_names(worse)} ended worse than untrained. Read the regressed prompts in the "
            "completion browser and compare their error classes before training it again: a "
            "lower learning_rate or fewer steps is the usual remedy."
        )


def _better(verdicts: SweepVerdicts, folder: Path) -> Iterator[NextStep]:
    cells = [cell for cell in verdicts.cells if cell.verdict.word is Word.BETTER]
    trials = [trial for trial in verdicts.trials if trial.verdict.word is Word.BETTER]
    if not trials:
        return
    best = max(trials, key=lambda t: t.verdict.effect.estimate_pp if t.verdict.effect else 0.0)
    holds = "holds" if len(cells) == 1 else "hold"
    confirmed = f" {cell_names(cells)} {holds} over seeds." if cells else ""
    yield NextStep(
        f"{trial_names(trials)} ended better than untrained.{confirmed} The gain is measured on "
        "the task's own prompts: try the adapter of the one that gained most on prompts of yours.",
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


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
