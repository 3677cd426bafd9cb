"""Completions as the report carries them: one compressed block a run, within a budget.

A block is JSON, compressed and in base64: it can hold any text without harm, and a page
unpacks only the blocks that its reader opens. Flips go in first, then an even sample of the
other prompts over difficulty, change and error class. Only where flips alone would not fit
are texts shortened in their middle, and only where that does not suffice are flips left out;
every block says what it lacks.

Baselines come first, since every trial is read beside one. Then each trial may take its share
of what the page leaves; what one does not need goes to those after it.
"""

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from analysis.measured import Measured
from analysis.records import RunRecord, read_run
from analysis.report.answers import Change, prompt_changes
from analysis.report.document import trial_tables
from analysis.report.gathering import SweepTables
from analysis.trials import TrialVerdict
from strictune.records import BASELINES, TRIALS, read_samples

__all__ = [
    "Answers",
    "Block",
    "PackedBlock",
    "baseline_block",
    "blocks",
    "read_answers",
    "run_block",
    "trial_block",
]

BASELINE_SHARE = 0.3
"""Of the budget, for all baselines together."""

TEXT_LIMITS = (None, 6000, 2000, 800, 300, 100)
"""Characters of a completion, tried in order."""
_FLAGS = ("is_truncated", "is_thinking")
_DETAILS = ("spans", "scores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one run answered on its final split."""

    measured: Measured
    samples: pd.DataFrame
    """One row a completion, all columns of ``samples.parquet``."""

    @property
    def components(self) -> list[str]:
        """The reward components that were recorded."""
        names = (str(name) for name in self.samples.columns)
        return [name.removeprefix("reward/") for name in names if name.startswith("reward/")]


class PackedBlock(NamedTuple):
    """A block and the name of the element that carries it."""

    name: str
    content: str
    num_flips_left_out: int = 0


class Block(NamedTuple):
    """One run's completions, packed."""

    content: str
    """Base64 of compressed JSON. It says itself what it lacks: ``num_prompts`` of the run,
    ``num_flips_left_out``, and ``text_limit``, beyond which completions are shortened."""
    num_prompts: int
    """How many are in it."""
    num_flips_left_out: int
    text_limit: int | None
    """None: all texts are whole."""


def read_answers(record: RunRecord) -> Answers:
    """Read a run's final answers with their texts."""
    samples = read_samples(record.samples_file, with_texts=True)
    ordered = samples.sort_values(["prompt_id", "sample"])
    return Answers(measured=Measured(record, record.table), samples=ordered)


def run_block(
    answers: Answers,
    changes: Sequence[Change] | None,
    *,
    max_chars: int,
    extra: Mapping[str, Any],
) -> Block:
    """Pack as much of a run as fits.

    Args:
        answers: The run.
        changes: What became of each prompt, in the order of ``answers.measured``; None for a
            baseline, all of whose prompts are needed beside some trial.
        max_chars: The largest content. What ``extra`` holds goes in whatever it is.
        extra: Goes into the block beside the completions.
    """
    run = _Run(answers, changes, extra)
    for limit in TEXT_LIMITS:
        everything = run.block(len(run.ordered), limit)
        if len(everything.content) <= max_chars:
            return everything
        needed = run.block(run.num_needed, limit)
        if len(needed.content) <= max_chars:
            return run.between(needed, everything, max_chars)
    return run.between(run.block(0, TEXT_LIMITS[-1]), needed, max_chars)


def pack(document: Any) -> str:
    """Compress a JSON document, the same way each time."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()


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
    changes = _changes(answers, trial, baselines, sweep.verdicts.primary_criterion)
    found = run_block(answers, changes, max_chars=max_chars, extra=extra)
    return PackedBlock(trial_block(trial), found.content, found.num_flips_left_out)


def _changes(
    answers: Answers, trial: TrialVerdict, baselines: dict[str, Measured], criterion: str
) -> list[Change] | None:
    if trial.comparison is None:
        return None
    theirs = baselines[trial.comparison.baseline]
    return list(prompt_changes(answers.measured, theirs, criterion))


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


class _Run:
    """Packs parts of one run: prompts are taken in a fixed order, as many as there is room."""

    def __init__(
        self, answers: Answers, changes: Sequence[Change] | None, extra: Mapping[str, Any]
    ) -> None:
        ids = [str(prompt_id) for prompt_id in answers.measured.table.index]
        self.changes = dict(zip(ids, changes, strict=True)) if changes is not None else {}
        flips = [name for name in ids if name in self.changes and self.changes[name].is_flip]
        self.num_flips = len(flips)
        self.num_needed = len(ids) if changes is None else len(flips)
        """Texts are shortened before one of these is left out."""
        self.ordered = [*flips, *_in_turns(answers, ids, self.changes)]
        """Prompts in the order in which they are taken."""
        measures = answers.measured.measures
        self.extra = {**extra, "components": answers.components, "measures": measures}
        self.samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
        criteria, components = answers.measured.criteria, answers.components
        for row in answers.samples.to_dict("records"):
            sample = _sample(row, criteria, components, measures)
            self.samples[str(row["prompt_id"])].append(sample)

    def block(self, num_prompts: int, limit: int | None) -> Block:
        """Pack the first ``num_prompts`` prompts."""
        left_out = max(0, self.num_flips - num_prompts)
        facts = {
            "num_prompts": len(self.ordered),
            "num_flips_left_out": left_out,
            "text_limit": limit,
        }
        answers = {name: self._answer(name, limit) for name in self.ordered[:num_prompts]}
        content = pack({**self.extra, **facts, "answers": answers})
        return Block(content, num_prompts, left_out, limit)

    def between(self, fits: Block, fails: Block, max_chars: int) -> Block:
        """Pack about as many prompts as fit: more than ``fits`` has, fewer than ``fails``.

        Size grows evenly with prompts, so a guess a little below the line between the two is
        close; where it is not, the next one starts from it.
        """
        while fails.num_prompts - fits.num_prompts > 1:
            room = max_chars - len(fits.content)
            share = room / (len(fails.content) - len(fits.content))
            more = int(0.97 * share * (fails.num_prompts - fits.num_prompts))
            if more < 1:
                break
            tried = self.block(fits.num_prompts + more, fits.text_limit)
            if len(tried.content) <= max_chars:
                return tried
            fails = tried
        return fits

    def _answer(self, name: str, limit: int | None) -> dict[str, Any]:
        change = self.changes.get(name)
        samples = self.samples[name]
        if limit is not None:
            samples = [_shortened_sample(sample, limit) for sample in samples]
        return {"change": change.value if change else "", "samples": samples}


def _sample(
    row: Mapping[Hashable, Any],
    criteria: Sequence[str],
    components: Sequence[str],
    measures: Sequence[str],
) -> dict[str, Any]:
    return {
        "text": str(row.get("completion", "")),
        "criteria": [name for name in criteria if row[f"criterion/{name}"]],
        "rewards": [_rounded(row[f"reward/{name}"]) for name in components],
        **(
            {"measures": [_rounded(row[f"measure/{name}"]) for name in measures]}
            if measures
            else {}
        ),
        **_details(str(row.get("details") or "")),
        "error": str(row.get("error_class", "")),
        "path": str(row.get("error_path", "")),
        "tokens": int(row["num_tokens"]),
        **{flag: bool(row[flag]) for flag in _FLAGS},
    }


def _details(text: str) -> dict[str, Any]:
    """Return marked spans and named scores, see ``Score.details``; empty without any."""
    details = json.loads(text) if text else {}
    return {name: details[name] for name in _DETAILS if details.get(name)}


def _in_turns(answers: Answers, ids: Sequence[str], changes: Mapping[str, Change]) -> list[str]:
    """Order the prompts that did not flip so that every stratum gives its share at any length."""
    first = answers.samples.drop_duplicates("prompt_id")
    column = "error_class" if "error_class" in first else "difficulty"
    facts = zip(first["prompt_id"], first["difficulty"], first[column], strict=True)
    classes = {str(name): (str(difficulty), str(found)) for name, difficulty, found in facts}
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in ids:
        change = changes.get(name)
        if change is None or not change.is_flip:
            strata[str(change), *classes[name]].append(name)
    turns = [
        (turn / len(members), name)
        for members in strata.values()
        for turn, name in enumerate(members)
    ]
    return [name for _, name in sorted(turns)]


def _shortened_sample(sample: dict[str, Any], limit: int) -> dict[str, Any]:
    """Shorten a sample's text; what was marked in it then no longer lies where it did."""
    text = _shortened(sample["text"], limit)
    if text == sample["text"]:
        return sample
    return {name: value for name, value in sample.items() if name != "spans"} | {"text": text}


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    left_out = len(text) - limit
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[head - limit :]}"


def _rounded(value: float) -> float | None:
    return None if value != value else round(float(value), 4)
