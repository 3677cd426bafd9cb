"""The control arms of trained models: would a grammar, or examples, have done it?

Beside its baseline each untrained model may have been measured under the grammar of its
prompts' answers (``strictune evaluate --sweep SWEEP --constrain``), and cells may be trained on
gold completions instead of rewards (``method: sft``) or before them (``curriculum: warm_start``).
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.families import Floats
from analysis.measured import (
    ALL_DIFFICULTIES,
    Interval,
    Measured,
    compare,
    comparison_problem,
    difference,
    differing_parts,
    group,
    level_text,
    measure,
    rate_intervals,
)
from analysis.records import RunState, SweepRecords, check_same_prompts
from analysis.report.comparisons import COMPARISONS, OVER_ALL
from analysis.sweep import SweepVerdicts
from analysis.tables import (
    Column,
    Row,
    Table,
    number,
    rate_cells,
    rate_column,
    rate_in,
    rate_row,
    rate_text,
    texts,
)
from analysis.trials import Comparison
from analysis.verdicts import Verdict, compared_verdict, effect, effect_text
from analysis.wording import contrast_sentences
from strictune.config.naming import GRPO, short_model_name
from strictune.records import CONTROLS, STUDIES

if TYPE_CHECKING:
    from analysis.report.gathering import SweepPrompts

__all__ = ["ANSWERS", "ARMS", "control_note", "control_rows", "control_sentences"]

GRAMMAR = "grammar"
"""The part of the keys in which a control differs from its baseline."""
METHOD, SFT = "method", "sft"
ANSWER_CRITERIA = ("conformant", "strict", "correct")
"""Of a document that fits its schema, stands alone, and is the expected one; not all tasks know
them."""
MIXED = "sft and grpo"
"""The arm of cells whose stages are trained by both."""
_LETTERS = 12
"""Of a part of a key: enough to tell two hashes apart."""

ARMS = Table(
    "controls",
    "Control arms",
    (
        Column("model", lambda row: f"{row['model']}, {row['thinking']}"),
        Column("arm", "name"),
        Column("seeds", "num_seeds"),
        Column("Pass@1", rate_in, rate_text),
        Column("against the baseline", "difference"),
        Column("verdict", "verdict"),
        Column("against the grammar", "against_grammar"),
        Column("tokens trained on", "completion_tokens", number),
        Column("seconds of steps", "training_s", number),
        Column("tokens/s, evaluation", "tokens_per_s", number),
    ),
)

CORRECTNESS = ("valid", "strict", "right", "valid_but_wrong")
ANSWERS = Table(
    "answers",
    "Valid, and right: what a grammar gains in form and costs in content",
    (*ARMS.columns[:2], *map(rate_column, CORRECTNESS)),
)
"""Of the same rows, where right answers are known."""


class _Arm(NamedTuple):
    """One row of the table."""

    kind: str
    name: str
    runs: Sequence[Measured]
    verdict: Verdict | None


def control_rows(
    sweep: SweepRecords, compared: Sequence[Comparison], *, cells: Mapping[str, Verdict]
) -> list[Row]:
    """Compare baselines, grammars, supervised cells and cells that learn from rewards.

    Args:
        sweep: Its records.
        compared: Its trials, in the order of the plan.
        cells: The verdict of each cell against its baseline, by its name.

    Returns:
        The arms of each baseline that has a control, in the order of the plan, without runs that
        were measured otherwise than their baseline. A trained cell minus the untrained model under
        the grammar is about the recipe with three seeds, else about these runs, and exploratory.
        Tokens and seconds are means over the seeds. Where right answers are known rows also hold
        ``CORRECTNESS`` with ``_low`` and ``_high``.

    Raises:
        StorageError: A control is there but cannot be understood.
        SpecError: It was measured on other prompts than its baseline.
    """
    criterion = sweep.plan.primary_criterion
    runs = map(sweep.run, sorted((sweep.folder / CONTROLS).glob("*")))
    controls = [measure(run) for run in runs if run.state is RunState.FINISHED]
    groups = _by_baseline(compared)
    mixed = {cell.name for cell in sweep.plan.cells if cell.is_mixed}
    rows: list[Row] = []
    for members in groups:
        baseline = members[0].gain.baseline if members[0].gain else None
        held = [one for one in controls if baseline is not None and _is_control(one, baseline)]
        trained = _trained_arms(members, cells, mixed)
        if held or any(arm.kind != GRPO for arm in trained):
            setting = _setting(members[0], [others[0] for others in groups])
            plan = members[0].plan
            facts = {
                "model": short_model_name(plan.model),
                "thinking": level_text(plan, "thinking"),
            }
            found = [_row(arm, criterion) for arm in _untrained_arms(baseline, held, criterion)]
            found += [_row(arm, criterion, held=held[:1]) for arm in trained]
            rows += [{**facts, **row, "name": f"{row['name']}{setting}"} for row in found]
    return rows


def control_note(sweep: Path, verdicts: SweepVerdicts, prompts: "SweepPrompts") -> str:
    """Return why a sweep has no table of control arms, and how to get one where none was run."""
    states = Counter(t.state.word for t in verdicts.trials if t.plan.method == SFT)
    constrained = sum(path.is_dir() for path in (sweep / CONTROLS).glob("*"))
    begun = []
    if states:
        counted = ", ".join(f"{count} {word}" for word, count in states.items())
        begun.append(f"supervised trials: {counted}")
    if constrained:
        begun.append(f"measurements under a grammar: {constrained}")
    question = "Would something simpler have done it?"
    if begun:
        return f"{question} No control can be shown ({'; '.join(begun)})."
    ways = []
    # A search knows no methods: it is about rewards.
    if prompts.has_gold and not (sweep / STUDIES).exists():
        ways.append(
            "matrix: {method: [sft, grpo]} in the sweep file trains on gold completions beside GRPO"
        )
    if prompts.has_grammar:
        ways.append(
            "strictune evaluate --sweep SWEEP --constrain measures the untrained models under a "
            "grammar"
        )
    return " ".join([f"{question} No control was run.", *(f"{way}." for way in ways)])


def control_sentences(verdicts: SweepVerdicts, comparisons: Sequence[Row]) -> list[str]:
    """Return what learning from rewards adds to supervised training, pair by pair.

    Where the sweep file declared the contrast its verdict is given, else the interval alone.
    """
    if any(contrast.factor == METHOD for contrast in verdicts.contrasts):
        return contrast_sentences(verdicts, factor=METHOD)
    pairs = [
        row
        for row in comparisons
        if row["factor"] == METHOD
        and row["difficulty"] == ALL_DIFFICULTIES
        and row["within"] != OVER_ALL
    ]
    return [
        f"{shown['comparison']} ({shown['in']}): {shown['difference']}, exploratory: "
        "contrasts: [method] in the sweep file plans the comparison."
        for shown in texts(COMPARISONS, pairs)
    ]


def _by_baseline(compared: Sequence[Comparison]) -> list[list[Comparison]]:
    """Gather the finished runs of each baseline; those measured otherwise than it are left out."""
    groups: dict[Path, list[Comparison]] = {}
    for one in compared:
        if one.trial is not None:
            groups.setdefault(one.record.baseline_folder, []).append(one)
    return list(map(_measured_alike, groups.values()))


def _measured_alike(members: Sequence[Comparison]) -> list[Comparison]:
    """Keep the runs that have the baseline beside them, or, without one, those like the first.

    A baseline stands beside a run only if keys and prompts of the two are the same.
    """
    with_baseline = [one for one in members if one.gain is not None]
    first = _trials(members)[0]
    return with_baseline or [
        one for one in members if comparison_problem([first, *_trials([one])]) is None
    ]


def _trials(members: Sequence[Comparison]) -> list[Measured]:
    return [one.trial for one in members if one.trial is not None]


def _setting(one: Comparison, others: Sequence[Comparison]) -> str:
    """Return what tells a trial's baseline from others of its model, thinking or not."""
    key = one.record.baseline_key
    differing = dict.fromkeys(
        part
        for other in others
        if (other.plan.model, other.plan.thinking) == (one.plan.model, one.plan.thinking)
        for part in differing_parts(key, other.record.baseline_key)
    )
    return "".join(f", {part} {str(key.get(part))[:_LETTERS]}" for part in differing)


def _is_control(control: Measured, baseline: Measured) -> bool:
    """Whether nothing but the grammar is between two measurements."""
    parts = differing_parts(control.record.baseline_key, baseline.record.baseline_key)
    return list(parts) == [GRAMMAR]


def _untrained_arms(
    baseline: Measured | None, held: Sequence[Measured], criterion: str
) -> Iterator[_Arm]:
    if baseline is None:
        return
    yield _Arm("untrained", "untrained", [baseline], None)
    for control in held:
        name = "untrained, under the grammar"
        check_same_prompts((control.table, baseline.table), names=(name, "its baseline"))
        verdict = compared_verdict(
            difference(control, baseline, criterion),
            sides=("the grammar", "the untrained model without it"),
        )
        yield _Arm("grammar", name, [control], verdict)


def _trained_arms(
    members: Sequence[Comparison], cells: Mapping[str, Verdict], mixed: Collection[str]
) -> list[_Arm]:
    """Return supervised cells before learned ones, else in the order of the plan."""
    by_cell: dict[str, list[Comparison]] = {}
    for one in members:
        by_cell.setdefault(one.plan.cell, []).append(one)
    supervised_first = sorted(by_cell.values(), key=lambda seeds: seeds[0].plan.method != SFT)
    return [
        _Arm(
            MIXED if seeds[0].plan.cell in mixed else seeds[0].plan.method,
            seeds[0].plan.cell,
            _trials(seeds),
            cells.get(seeds[0].plan.cell),
        )
        for seeds in supervised_first
    ]


def _row(arm: _Arm, criterion: str, *, held: Sequence[Measured] = ()) -> Row:
    """Return the row of an arm; its rate is the mean over the seeds and about these runs."""
    kind, name, runs, verdict = arm
    ours = group(runs, criterion)
    (rate,) = _rates(ours.rates.mean(axis=0), runs=runs)
    is_trained = kind in (SFT, GRPO, MIXED)
    against_grammar = None
    if held:
        found = compare(ours, group(held, criterion, is_trained=False))
        against_grammar = effect_text(effect(found))
    records = [run.record for run in runs]
    trained = {
        "completion_tokens": float(np.mean([one.trained_tokens for one in records])),
        "training_s": float(np.mean([one.training_s for one in records])),
    }
    return {
        "arm": kind,
        "name": name,
        "num_seeds": len(runs) if is_trained else None,
        **rate_row(rate),
        **_correctness(runs),
        **_against_baseline(verdict, is_planned=is_trained),
        "against_grammar": against_grammar,
        **(trained if is_trained else dict.fromkeys(trained, math.nan)),
        "tokens_per_s": float(np.mean([one.decoding_speed for one in records])),
    }


def _correctness(runs: Sequence[Measured]) -> Row:
    """Return how often answers conform, are strict and are right; empty where unknown."""
    if not set(ANSWER_CRITERIA) <= set(runs[0].criteria):
        return {}
    valid, strict, right = (group(runs, name).rates.mean(axis=0) for name in ANSWER_CRITERIA)
    # Whatever is correct conforms; means over seeds may round below 0.
    wrong = np.clip(valid - right, 0.0, 1.0)
    found = zip(CORRECTNESS, _rates(valid, strict, right, wrong, runs=runs), strict=True)
    return {name: value for key, rate in found for name, value in rate_cells(key, rate).items()}


def _rates(*prompt_means: Floats, runs: Sequence[Measured]) -> list[Interval]:
    num_completions = sum(run.num_completions for run in runs)
    return rate_intervals(np.stack(prompt_means), runs[0].families, num_completions=num_completions)


def _against_baseline(verdict: Verdict | None, *, is_planned: bool) -> Row:
    if verdict is None:
        return {"difference": None, "verdict": None, "text": None}
    found, word = verdict.effect, verdict.word
    unplanned = "" if is_planned else ", not planned"
    return {
        "difference": None if found is None else effect_text(found),
        "verdict": "undecided" if word is None else f"{word.value}{unplanned}",
        "text": verdict.text,
    }
