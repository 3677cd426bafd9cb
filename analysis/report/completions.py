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
from typing import Any, NamedTuple

import pandas as pd

from analysis.answers import Change, prompt_changes
from analysis.measured import Measured
from analysis.records import RunRecord, read_run
from analysis.report.document import trial_tables
from analysis.report.gathering import SweepTables
from analysis.trials import TrialVerdict
from strictune.records import BASELINES, TRIALS, read_samples

__all__ = [
    "Answers",
    "Block",
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


class Answers(NamedTuple):
    """The completions of one run on its final split."""

    measured: Measured
    samples: pd.DataFrame
    """One row a completion, all columns of ``samples.parquet``."""


class Block(NamedTuple):
    """One element of the page."""

    content: str
    """Base64 of compressed JSON, which says ``num_prompts`` of the run, ``num_flips_left_out``, and
    ``text_limit``, beyond which completions are shortened."""
    num_prompts: int = 0
    """How many are in it."""
    num_flips_left_out: int = 0
    text_limit: int | None = None
    """None: all texts are whole."""
    name: str = ""
    """Of the element."""


def read_answers(record: RunRecord) -> Answers:
    """Read a run's final completions with their texts."""
    samples = read_samples(record.samples_file, with_texts=True)
    return Answers(Measured(record, record.table), samples.sort_values(["prompt_id", "sample"]))


def run_block(
    answers: Answers, changes: Sequence[Change] | None, *, max_chars: int, extra: Mapping[str, Any]
) -> Block:
    """Pack as much of a run as fits.

    Args:
        answers: The run.
        changes: Of each prompt, in the order of ``answers.measured``; None for a baseline, all of
            whose prompts are needed beside some trial.
        max_chars: The largest content; ``extra`` goes in whatever it is.
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


def trial_block(trial: TrialVerdict) -> str:
    """Return the name of a trial's block."""
    return f"trial-{trial.plan.trial_id}"


def baseline_block(baseline: str) -> str:
    """Return the name of a baseline's block."""
    return f"baseline-{baseline}"


def blocks(sweep: SweepTables, *, max_chars: int) -> Iterator[Block]:
    """Yield the blocks of a sweep: its prompts, each baseline, each trial with its tables.

    Runs are read one at a time and not kept, but for what judging a change needs of baselines.
    """
    prompts = Block(_pack(_prompts(sweep)), name="prompts")
    left = max_chars - len(prompts.content)
    yield prompts
    compared = (trial.comparison for trial in sweep.verdicts.trials if trial.comparison)
    names = list(dict.fromkeys(comparison.baseline for comparison in compared))
    baselines: dict[str, Measured] = {}
    room = int(BASELINE_SHARE * left)
    for index, name in enumerate(names):
        answers = read_answers(read_run(sweep.folder / BASELINES / name))
        baselines[name] = answers.measured
        found = run_block(answers, None, max_chars=room // (len(names) - index), extra={})
        room -= len(found.content)
        left -= len(found.content)
        yield found._replace(name=baseline_block(name))
    tables = sweep.by_trial()
    waiting = [trial for trial in sweep.verdicts.trials if trial.plan.trial_id in tables]
    for index, trial in enumerate(waiting):
        shown = [table._asdict() for table in trial_tables(tables[trial.plan.trial_id])]
        share = left // (len(waiting) - index)
        found = _trial_block(sweep, trial, baselines, {"tables": shown}, max_chars=share)
        left -= len(found.content)
        yield found._replace(name=trial_block(trial))


def _pack(document: Any) -> str:
    """Compress a JSON document, the same way each time."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()


def _trial_block(
    sweep: SweepTables,
    trial: TrialVerdict,
    baselines: Mapping[str, Measured],
    extra: Mapping[str, Any],
    *,
    max_chars: int,
) -> Block:
    if trial.result is None:
        return Block(_pack(extra))
    answers = read_answers(read_run(sweep.folder / TRIALS / trial.plan.trial_id))
    changes = None
    if trial.comparison is not None:
        theirs = baselines[trial.comparison.baseline]
        changes = prompt_changes(answers.measured, theirs, sweep.verdicts.primary_criterion)
    return run_block(answers, changes, max_chars=max_chars, extra=extra)


def _prompts(sweep: SweepTables) -> dict[str, Any]:
    """Return what is shown of each prompt; all trials of a sweep have the same ones."""
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
        measured, samples = answers
        ids = [str(prompt_id) for prompt_id in measured.table.index]
        self.changes = dict(zip(ids, changes, strict=True)) if changes is not None else {}
        flips = [name for name in ids if name in self.changes and self.changes[name].is_flip]
        self.num_flips = len(flips)
        self.num_needed = len(ids) if changes is None else len(flips)
        """Texts are shortened before one of these is left out."""
        self.ordered = [*flips, *_in_turns(samples, ids, self.changes)]
        """Prompts in the order in which they are taken."""
        names = (str(name) for name in samples.columns)
        components = [name.removeprefix("reward/") for name in names if name.startswith("reward/")]
        self.extra = {**extra, "components": components, "measures": measured.measures}
        self.samples: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in samples.to_dict("records"):
            sample = _sample(row, measured.criteria, components, measured.measures)
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
        content = _pack({**self.extra, **facts, "answers": answers})
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
        samples = [_shortened(sample, limit) for sample in self.samples[name]]
        return {"change": change.value if change else "", "samples": samples}


def _sample(
    row: Mapping[Hashable, Any],
    criteria: Sequence[str],
    components: Sequence[str],
    measures: Sequence[str],
) -> dict[str, Any]:
    details = json.loads(row.get("details") or "{}")
    found = [_rounded(row[f"measure/{name}"]) for name in measures]
    return {
        "text": str(row.get("completion", "")),
        "criteria": [name for name in criteria if row[f"criterion/{name}"]],
        "rewards": [_rounded(row[f"reward/{name}"]) for name in components],
        **({"measures": found} if found else {}),
        # Marked spans and named scores, see ``Score.details``.
        **{name: details[name] for name in ("spans", "scores") if details.get(name)},
        "error": str(row.get("error_class", "")),
        "path": str(row.get("error_path", "")),
        "tokens": int(row["num_tokens"]),
        "is_truncated": bool(row["is_truncated"]),
        "is_thinking": bool(row["is_thinking"]),
    }


def _in_turns(
    samples: pd.DataFrame, ids: Sequence[str], changes: Mapping[str, Change]
) -> list[str]:
    """Order the prompts that did not flip so that every stratum gives its share at any length."""
    first = samples.drop_duplicates("prompt_id")
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


def _shortened(sample: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """Shorten a sample's text; spans that were marked in it no longer lie where they did."""
    text = sample["text"]
    if limit is None or len(text) <= limit:
        return sample
    head, left_out = limit * 3 // 4, len(text) - limit
    short = f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[head - limit :]}"
    return {name: value for name, value in sample.items() if name != "spans"} | {"text": short}


def _rounded(value: float) -> float | None:
    return None if value != value else round(float(value), 4)
