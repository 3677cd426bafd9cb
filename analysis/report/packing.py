"""Fits the completions of all runs into what the page leaves of its budget.

Baselines come first, since every trial is read beside one. Then each trial may take its share
of what is left; what one does not need goes to those after it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from analysis.measured import Measured
from analysis.records import BASELINES, TRIALS, read_run
from analysis.report.answers import Change, prompt_changes
from analysis.report.completions import Answers, pack, read_answers, run_block
from analysis.report.gathering import SweepTables
from analysis.report.trial_tables import trial_tables
from analysis.trials import TrialVerdict

__all__ = ["PackedBlock", "baseline_block", "blocks", "trial_block"]

BASELINE_SHARE = 0.3
"""Of the budget, for all baselines together."""


class PackedBlock(NamedTuple):
    """A block and the name of the element that carries it."""

    name: str
    content: str
    num_flips_left_out: int = 0


def trial_block(trial: TrialVerdict) -> str:
    """Return the name of a trial's block."""
    return f"trial-{trial.plan.trial_id}"


def baseline_block(baseline: str) -> str:
    """Return the name of a baseline's block."""
    return f"baseline-{baseline}"


def blocks(sweep: SweepTables, *, max_chars: int) -> Iterator[PackedBlock]:
    """Yield the blocks of a sweep: its prompts, each baseline, each trial with its tables.

    Runs are read one at a time and not kept, but for what judging a change needs of baselines.
    """
    left = max_chars
    prompts = PackedBlock("prompts", pack(_prompts(sweep)))
    left -= len(prompts.content)
    yield prompts
    verdicts = sweep.verdicts
    names = list(
        dict.fromkeys(trial.comparison.baseline for trial in verdicts.trials if trial.comparison)
    )
    baselines: dict[str, Measured] = {}
    room = int(BASELINE_SHARE * left)
    for index, name in enumerate(names):
        answers = read_answers(read_run(sweep.folder / BASELINES / name))
        baselines[name] = answers.measured
        share = room // (len(names) - index)
        found = run_block(answers, None, max_chars=share, extra={})
        room -= len(found.content)
        left -= len(found.content)
        yield PackedBlock(baseline_block(name), found.content)
    yield from _trial_blocks(sweep, baselines, left)


def _trial_blocks(
    sweep: SweepTables, baselines: dict[str, Measured], left: int
) -> Iterator[PackedBlock]:
    tables = sweep.by_trial()
    waiting = [trial for trial in sweep.verdicts.trials if trial.plan.trial_id in tables]
    for index, trial in enumerate(waiting):
        found = trial_tables(tables[trial.plan.trial_id])
        extra: dict[str, Any] = {"tables": [table._asdict() for table in found]}
        if trial.result is None:
            packed = PackedBlock(trial_block(trial), pack(extra))
        else:
            share = left // (len(waiting) - index)
            packed = _answered(sweep, trial, baselines, extra, max_chars=share)
        left -= len(packed.content)
        yield packed


def _answered(
    sweep: SweepTables,
    trial: TrialVerdict,
    baselines: dict[str, Measured],
    extra: dict[str, Any],
    *,
    max_chars: int,
) -> PackedBlock:
    answers = read_answers(read_run(sweep.folder / TRIALS / trial.plan.trial_id))
    changes = _changes(answers, trial, baselines, sweep.verdicts.primary_rung)
    found = run_block(answers, changes, max_chars=max_chars, extra=extra)
    return PackedBlock(trial_block(trial), found.content, found.num_flips_left_out)


def _changes(
    answers: Answers, trial: TrialVerdict, baselines: dict[str, Measured], rung: str
) -> list[Change] | None:
    if trial.comparison is None:
        return None
    theirs = baselines[trial.comparison.baseline]
    return list(prompt_changes(answers.measured, theirs, rung))


def _prompts(sweep: SweepTables) -> dict[str, Any]:
    """Return what is shown of each prompt; all trials of a sweep answer the same ones."""
    finished = next((trial for trial in sweep.verdicts.trials if trial.result is not None), None)
    if finished is None:
        return {}
    samples = read_answers(read_run(sweep.folder / TRIALS / finished.plan.trial_id)).samples
    shown = {}
    for row in samples.drop_duplicates("prompt_id").to_dict("records"):
        name = str(row["prompt_id"])
        prompt = sweep.prompts.by_id.get(name)
        shown[name] = {
            "text": prompt.text if prompt else "",
            "columns": dict(prompt.columns) if prompt else {},
            "difficulty": str(row["difficulty"]),
            "family": str(row["family"]),
            "constructs": list(map(str, row.get("constructs", ()))),
        }
    return shown
