"""Completions as the report carries them: one compressed block a run, within a budget.

A block is JSON, compressed and in base64: it can hold any text without harm, and a page
unpacks only the blocks that its reader opens. Flips go in first, then an even sample of the
other prompts over difficulty, change and error class. Only where flips alone would not fit
are texts shortened in their middle, and only where that does not suffice are flips left out;
every block says what it lacks.
"""

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from analysis.measured import Measured
from analysis.records import RunRecord, read_samples
from analysis.report.answers import Change

__all__ = ["Answers", "Block", "pack", "read_answers", "run_block"]

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
        rungs, components = answers.measured.rungs, answers.components
        for row in answers.samples.to_dict("records"):
            sample = _sample(row, rungs, components, measures)
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
    rungs: Sequence[str],
    components: Sequence[str],
    measures: Sequence[str],
) -> dict[str, Any]:
    return {
        "text": str(row.get("completion", "")),
        "rungs": [name for name in rungs if row[f"rung/{name}"]],
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
