"""What would decide the comparisons that are still open; and whether any is."""

import math
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from analysis.differences import MIN_SEEDS
from analysis.recipes import ContrastVerdict
from analysis.report.step_wording import NextStep, cell_names, listed, run_command, trial_names
from analysis.sweep import SweepVerdicts
from analysis.verdicts import DECIDED, Verdict, Word

__all__ = ["closing_step", "deciding_steps"]

WANTED_PP = 5.0
"""A design that detects no smaller gain than this is called wide, in percentage points."""


class _Judged(NamedTuple):
    """A planned comparison, whatever it is of."""

    name: str
    verdict: Verdict


def deciding_steps(verdicts: SweepVerdicts, folder: Path, *, is_search: bool) -> Iterator[NextStep]:
    """Say what would decide what finished trials leave open."""
    yield from _measured_apart(verdicts)
    yield from _few_seeds(verdicts, folder, is_search=is_search)
    yield from _of_one_family(verdicts)
    yield from _wide_trials(verdicts)
    yield from _wide_recipes(verdicts)


def closing_step(verdicts: SweepVerdicts) -> NextStep:
    """Say how things stand where no rule asks for anything."""
    judged = [
        *(_Judged(trial.plan.name, trial.verdict) for trial in verdicts.trials),
        *_recipes(verdicts),
    ]
    is_open = [one.name for one in judged if one.verdict.word not in DECIDED]
    if not is_open:
        return NextStep("Nothing is left open: every planned comparison is decided.")
    return NextStep(
        f"{listed(is_open, 'comparisons')} {_is(is_open)} undecided, although a difference of "
        f"{WANTED_PP:.0f} points would have been found in four of five cases. More seeds and more "
        "prompts are worth their time only where a smaller one matters."
    )


def _measured_apart(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    """Name what cannot be judged although its trials have results: they do not fit together.

    Where results are missing another rule says so, and only they are missing.
    """
    compared = {trial.plan.cell for trial in verdicts.trials if trial.comparison is not None}
    finished = {trial.plan.cell for trial in verdicts.trials if trial.result is not None}
    apart = [
        _Judged(cell.cell, cell.verdict)
        for cell in verdicts.cells
        if cell.verdict.effect is None and cell.cell in compared
    ]
    apart += [
        _contrast(contrast)
        for contrast in verdicts.contrasts
        if contrast.verdict.effect is None and {contrast.cell, contrast.against_cell} <= finished
    ]
    if apart:
        yield NextStep(
            f"{listed([one.name for one in apart], 'comparisons')}: {apart[-1].verdict.text} What "
            "was measured in different ways is not put together. Run the sweep with another --out, "
            "where all of it is measured alike."
        )


def _few_seeds(verdicts: SweepVerdicts, folder: Path, *, is_search: bool) -> Iterator[NextStep]:
    few = [cell for cell in verdicts.cells if cell.seed_rates and cell.num_planned < MIN_SEEDS]
    if not few:
        return
    seeds = sorted({trial.plan.seed for trial in verdicts.trials})
    # The seeds of a search's points are the small ones, and no winner is confirmed with them.
    key, start = ("search.confirm.seeds", seeds[-1]) if is_search else ("matrix.seed", 0)
    fresh = (seed for seed in count(start) if seed not in seeds)
    while len(seeds) < MIN_SEEDS:
        seeds.append(next(fresh))
    yield NextStep(
        f"{cell_names(few)} {'has' if len(few) == 1 else 'have'} fewer than {MIN_SEEDS} seeds. "
        "What helped may have been luck of one run: train more seeds, and the report says what "
        "the recipe gives. Trials that have finished are kept.",
        run_command(verdicts, folder, "--set", f"{key}={seeds}".replace(" ", ""), "--resume"),
    )


def _of_one_family(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    alone = [
        trial
        for trial in verdicts.trials
        if trial.comparison is not None and trial.result and trial.result.num_families < 2
    ]
    if alone:
        yield NextStep(
            f"All prompts of {trial_names(alone)} belong to one family, which shows nothing about "
            "others, so that no number of seeds decides. Evaluate on prompts of several families."
        )


def _wide_trials(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    unclear = [
        trial
        for trial in verdicts.trials
        if trial.result is not None and _wide_pp(trial.verdict) is not None
    ]
    if not unclear:
        return
    widest = max(unclear, key=lambda trial: _wide_pp(trial.verdict) or 0.0)
    detectable, result = _wide_pp(widest.verdict), widest.result
    assert detectable is not None and result is not None
    factor = (detectable / WANTED_PP) ** 2
    more = f"about {factor:.1f} times as many prompts, of as many new families"
    if math.isinf(factor):
        more = "many more prompts, of new families"
    yield NextStep(
        f"{trial_names(unclear)} {_show(unclear)} no clear difference, and "
        f"this design sees {_below(detectable)}. To see {WANTED_PP:.0f} points, evaluate on {more} "
        f"(now {result.num_prompts} prompts of {result.num_families} families)."
    )


def _wide_recipes(verdicts: SweepVerdicts) -> Iterator[NextStep]:
    wide = {
        one.name: detectable
        for one in _recipes(verdicts)
        if (detectable := _wide_pp(one.verdict)) is not None
    }
    if wide:
        yield NextStep(
            f"{listed(list(wide), 'comparisons of recipes')} {_show(list(wide))} no clear "
            f"difference over seeds, and this design sees {_below(max(wide.values()))}. Train more "
            "seeds where seeds differ much, and evaluate on more prompts of new families where "
            "they agree."
        )


def _wide_pp(verdict: Verdict) -> float | None:
    """Return what a design detects that left a difference unclear; None where that is little."""
    detectable = verdict.detectable_pp
    if verdict.word is not Word.UNCLEAR or detectable is None or math.isnan(detectable):
        return None
    return detectable if detectable > WANTED_PP else None


def _below(detectable_pp: float) -> str:
    return "none at all" if math.isinf(detectable_pp) else f"none below {detectable_pp:.1f} points"


def _recipes(verdicts: SweepVerdicts) -> Iterator[_Judged]:
    yield from (_Judged(cell.cell, cell.verdict) for cell in verdicts.cells)
    yield from map(_contrast, verdicts.contrasts)


def _contrast(contrast: ContrastVerdict) -> _Judged:
    name = f"{contrast.level} against {contrast.against_level} ({contrast.cell})"
    return _Judged(name, contrast.verdict)


def _is(names: Sequence[object]) -> str:
    return "is" if len(names) == 1 else "are"


def _show(names: Sequence[object]) -> str:
    return "shows" if len(names) == 1 else "show"
