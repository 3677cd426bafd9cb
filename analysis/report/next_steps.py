"""What to run next, read off the verdicts: plain sentences, with a command where there is one.

Rules only, in the order of their urgency: what is missing, what makes results unreadable,
what would decide, what to look at. Nothing here is a verdict.
"""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from analysis.differences import MIN_SEEDS
from analysis.records import RunState
from analysis.sweep import ContrastVerdict, SweepVerdicts
from analysis.trials import TrialVerdict
from analysis.verdicts import DECIDED, Verdict, Word
from analysis.wording import NAMED

__all__ = ["NextStep", "next_steps"]

MANY_TRUNCATED = 0.1
MANY_ZERO_STD = 0.5
MANY_MISPAID = 0.02
WANTED_PP = 5.0
"""A design that detects no smaller gain than this is called wide, in percentage points."""


class NextStep(NamedTuple):
    """One thing to do."""

    text: str
    command: str | None = None


def next_steps(
    verdicts: SweepVerdicts,
    folder: Path,
    *,
    flat_groups: Mapping[str, float] | None = None,
    failing_above: Mapping[str, float] | None = None,
    is_search: bool = False,
) -> list[NextStep]:
    """Return what to do next.

    Args:
        verdicts: The sweep's.
        folder: The sweep's, for commands.
        flat_groups: Each cell's share of groups without any spread, at the end of training.
        failing_above: Its share of pairs in which a failing completion out-earned a passing one.
        is_search: The trials confirm the winners of studies.
    """
    steps = [
        *_missing(verdicts, folder),
        *_out_of_reach(verdicts),
        *_unreadable(verdicts),
        *_without_signal(flat_groups or {}),
        *_mispaid(failing_above or {}, verdicts.primary_criterion),
        *_measured_apart(verdicts),
        *_few_seeds(verdicts, folder, is_search=is_search),
        *_of_one_family(verdicts),
        *_wide_trials(verdicts),
        *_wide_recipes(verdicts),
        *_worse(verdicts),
        *_better(verdicts, folder),
    ]
    return steps or [_closing_step(verdicts)]


def _missing(verdicts: SweepVerdicts, folder: Path) -> Iterator[NextStep]:
    counts = verdicts.states
    num_open = counts[RunState.PENDING] + counts[RunState.RUNNING]
    lost = [trial for trial in verdicts.trials if trial.state in (RunState.FAILED, RunState.KILLED)]
    resume = _run_command(verdicts, folder, "--resume")
    if not verdicts.trials:
        yield NextStep(
            "The study has not come to its confirmation, so nothing is decided. If nothing runs "
            "the sweep, go on with it; then make this report again.",
            resume,
        )
    if num_open:
        yield NextStep(
            f"{_count(num_open)} of {len(verdicts.trials)} {_verb(num_open, 'has', 'have')} "
            "not ended. If nothing runs the sweep, go on with it; then make this report again.",
            resume,
        )
    if lost:
        yield NextStep(
            f"{_count(len(lost))} did not finish: {_reasons(lost)}. Run again what can be "
            "mended: a missing trial keeps its place among the planned comparisons and makes the "
            "others harder to decide.",
            _run_command(verdicts, folder, "--resume", "--retry"),
        )
    finished = (trial for trial in verdicts.trials if trial.state is RunState.FINISHED)
    alone = [trial for trial in finished if trial.comparison is None]
    if alone:
        yield NextStep(
            f"{_count(len(alone))} finished but cannot be compared: {_reasons(alone)}. "
            "Resuming the sweep measures baselines that are missing.",
            resume,
        )


def _out_of_reach(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    """Look for a primary criterion that nobody, trained or not, ever reaches."""
    finished = [trial for trial in verdicts.trials if trial.result is not None]
    missed = [
        criterion
        for criterion in verdicts.criteria
        if not any(_reaches(trial, criterion) for trial in finished)
    ]
    if finished and verdicts.primary_criterion in missed:
        is_whole = all(trial.comparison is not None for trial in finished)
        who = (
            f"No answer reached {verdicts.primary_criterion}, untrained or trained"
            if is_whole
            else f"No trained answer reached {verdicts.primary_criterion}, and not every baseline "
            "is measured"
        )
        yield NextStep(
            f"{who}, so nothing is decided by it. The lowest criterion that nobody is known to "
            f"reach is {missed[0]}: show its form in the prompt or pay for steps towards it, "
            "before more seeds or steps."
        )


def _reaches(trial: TrialVerdict, criterion: str) -> bool:
    rates = [trial.result.rates[criterion]] if trial.result is not None else []
    if trial.comparison is not None:
        rates += [tier.baseline for tier in trial.comparison.tiers if tier.criterion == criterion]
    return any(rate.estimate > 0 for rate in rates)


def _unreadable(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    lazy = [t for t in verdicts.trials if t.result is not None and t.result.is_think_rate_low]
    if lazy:
        yield NextStep(
            f"{_names(lazy)} {_verb(len(lazy), 'was', 'were')} asked to think and "
            "mostly did not. Read them as trials without thinking; a model that cannot "
            "write a think block has to be shown some before a reward can strengthen them."
        )
    tied = [trial for trial in verdicts.trials if trial.ties]
    if tied:
        parts = sorted({part for trial in tied for part in trial.ties})
        yield NextStep(
            f"{_names(tied)} put no weight on {', '.join(parts)}. Give it some, unless that "
            "is what the sweep is about: without it training cannot tell some wrong answers from "
            "right ones."
        )
    shares = {
        trial.plan.trial_id: trial.result.truncated_frac
        for trial in verdicts.trials
        if trial.result is not None and trial.result.truncated_frac > MANY_TRUNCATED
    }
    if shares:
        cut = [trial for trial in verdicts.trials if trial.plan.trial_id in shares]
        yield NextStep(
            f"Up to {max(shares.values()):.0%} of the completions of {_names(cut)} reach the token "
            "limit. Raise evaluation.max_new_tokens, so that the limit is not what is measured."
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


def _mispaid(failing_above: Mapping[str, float], criterion: str) -> Iterator[NextStep]:
    if cells := [cell for cell, share in failing_above.items() if share > MANY_MISPAID]:
        worst = max(failing_above.values())
        yield NextStep(
            f"In {worst:.0%} of the pairs of a failing and a passing completion of one group "
            f"({', '.join(cells[:NAMED])}) the failing one earned more. "
            f"Pay more for what decides {criterion}."
        )


def _measured_apart(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    """Name what cannot be judged although its trials have results: they do not fit together."""
    compared = {trial.plan.cell for trial in verdicts.trials if trial.comparison is not None}
    finished = {trial.plan.cell for trial in verdicts.trials if trial.result is not None}
    apart = {
        cell.cell: cell.verdict
        for cell in verdicts.cells
        if cell.verdict.effect is None and cell.cell in compared
    } | {
        _contrast_name(contrast): contrast.verdict
        for contrast in verdicts.contrasts
        if contrast.verdict.effect is None and {contrast.cell, contrast.against_cell} <= finished
    }
    if apart:
        yield NextStep(
            f"{_listed(list(apart), 'comparisons')}: {list(apart.values())[-1].text} What "
            "was measured in different ways is not put together. Run the sweep with another --out, "
            "where all of it is measured alike."
        )


def _few_seeds(verdicts: SweepVerdicts, folder: Path, *, is_search: bool) -> Iterator[NextStep]:
    few = [cell.cell for cell in verdicts.cells if cell.seed_rates and cell.num_planned < MIN_SEEDS]
    if not few:
        return
    seeds = sorted({trial.plan.seed for trial in verdicts.trials})
    # The seeds of a search's points are the small ones, and no winner is confirmed with them.
    key, start = ("search.confirm.seeds", seeds[-1]) if is_search else ("matrix.seed", 0)
    fresh = (seed for seed in count(start) if seed not in seeds)
    while len(seeds) < MIN_SEEDS:
        seeds.append(next(fresh))
    yield NextStep(
        f"{_listed(few, 'cells')} {_verb(len(few), 'has', 'have')} fewer than {MIN_SEEDS} seeds. "
        "What helped may have been luck of one run: train more seeds, and the report says what "
        "the recipe gives. Trials that have finished are kept.",
        _run_command(verdicts, folder, "--set", f"{key}={seeds}".replace(" ", ""), "--resume"),
    )


def _of_one_family(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    alone = [
        trial
        for trial in verdicts.trials
        if trial.comparison is not None and trial.result and trial.result.num_families < 2
    ]
    if alone:
        yield NextStep(
            f"All prompts of {_names(alone)} belong to one family, which shows nothing about "
            "others, so that no number of seeds decides. Evaluate on prompts of several families."
        )


def _wide_trials(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    wide = [
        (detectable, trial.result, trial)
        for trial in verdicts.trials
        if trial.result is not None and (detectable := _wide_pp(trial.verdict)) is not None
    ]
    if not wide:
        return
    detectable, result, _ = max(wide, key=lambda found: found[0])
    factor = (detectable / WANTED_PP) ** 2
    more = f"about {factor:.1f} times as many prompts, of as many new families"
    if math.isinf(factor):
        more = "many more prompts, of new families"
    yield NextStep(
        f"{_names([trial for *_, trial in wide])} {_verb(len(wide), 'shows', 'show')} no clear "
        f"difference, and this design sees {_below(detectable)}. To see {WANTED_PP:.0f} points, "
        f"evaluate on {more} (now {result.num_prompts} prompts of {result.num_families} families)."
    )


def _wide_recipes(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    wide = {
        name: detectable
        for name, verdict in _recipes(verdicts)
        if (detectable := _wide_pp(verdict)) is not None
    }
    if wide:
        yield NextStep(
            f"{_listed(list(wide), 'comparisons of recipes')} {_verb(len(wide), 'shows', 'show')} "
            f"no clear difference over seeds, and this design sees {_below(max(wide.values()))}. "
            "Train more seeds where seeds differ much, and evaluate on more prompts of new "
            "families where they agree."
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
    cells = [cell.cell for cell in verdicts.cells if cell.verdict.word is Word.BETTER]
    trials = [trial for trial in verdicts.trials if trial.verdict.word is Word.BETTER]
    if not trials:
        return
    best = max(trials, key=lambda t: t.verdict.effect.estimate_pp if t.verdict.effect else 0.0)
    holds = _verb(len(cells), "holds", "hold")
    confirmed = f" {_listed(cells, 'cells')} {holds} over seeds." if cells else ""
    adapter = folder / "trials" / best.plan.trial_id / "adapter" / "final"
    parts = ["strictune", "evaluate", "--model", best.plan.model, "--adapter", str(adapter)]
    parts += ["--suite", "YOURS.jsonl", *(["--thinking"] if best.plan.thinking else [])]
    yield NextStep(
        f"{_names(trials)} ended better than untrained.{confirmed} The gain is measured on "
        "the task's own prompts: try the adapter of the one that gained most on prompts of yours.",
        shlex.join(parts),
    )


def _closing_step(verdicts: SweepVerdicts) -> NextStep:
    """Describe a sweep for which no rule asks for anything."""
    judged = [(trial.plan.name, trial.verdict) for trial in verdicts.trials]
    judged += _recipes(verdicts)
    is_open = [name for name, verdict in judged if verdict.word not in DECIDED]
    if not is_open:
        return NextStep("Nothing is left open: every planned comparison is decided.")
    return NextStep(
        f"{_listed(is_open, 'comparisons')} {_verb(len(is_open), 'is', 'are')} undecided, "
        f"although a difference of {WANTED_PP:.0f} points would have been found in "
        "four of five cases. More seeds and more prompts are worth their time only where a "
        "smaller one matters."
    )


def _wide_pp(verdict: Verdict) -> float | None:
    """Return what a design detects that left a difference unclear; None where that is little."""
    detectable = verdict.detectable_pp
    if verdict.word is not Word.UNCLEAR or detectable is None or math.isnan(detectable):
        return None
    return detectable if detectable > WANTED_PP else None


def _below(detectable_pp: float) -> str:
    return "none at all" if math.isinf(detectable_pp) else f"none below {detectable_pp:.1f} points"


def _recipes(verdicts: SweepVerdicts) -> list[tuple[str, Verdict]]:
    cells = [(cell.cell, cell.verdict) for cell in verdicts.cells]
    return cells + [(_contrast_name(found), found.verdict) for found in verdicts.contrasts]


def _contrast_name(contrast: ContrastVerdict) -> str:
    return f"{contrast.level} against {contrast.against_level} ({contrast.cell})"


def _names(trials: Sequence[TrialVerdict]) -> str:
    """Return e.g. ``tiny · think · standard · seed 0``, or ``12 trials``."""
    return _listed([trial.plan.name for trial in trials], "trials")


def _listed(names: Sequence[str], what: str) -> str:
    """Return the names, or how many there are."""
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} {what}"


def _reasons(trials: Sequence[TrialVerdict]) -> str:
    reasons = sorted({str(trial.reason).rstrip(".") for trial in trials})
    return "; ".join(reasons[:NAMED]) + ("; ..." if len(reasons) > NAMED else "")


def _verb(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


def _count(number: int) -> str:
    return f"{number} {_verb(number, 'trial', 'trials')}"


def _run_command(verdicts: SweepVerdicts, folder: Path, *options: str) -> str | None:
    """Return the command; None for a copy, since a sweep's folder has the sweep's name."""
    if folder.name != verdicts.sweep:
        return None
    out = [] if str(folder.parent) == "runs" else ["--out", str(folder.parent)]
    return shlex.join(["strictune", "run", str(folder / "sweep.yaml"), *options, *out])
