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
from typing import Any, NamedTuple

from analysis.report.answers import Answers, Change

__all__ = ["Block", "pack", "run_block"]

TEXT_LIMITS = (None, 6000, 2000, 800, 300)
"""Characters of a completion, tried in order."""
_FLAGS = ("is_truncated", "is_thinking")


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
            baseline, all of whose prompts count the same.
        max_chars: The largest content. What ``extra`` holds goes in whatever it is.
        extra: Goes into the block beside the completions.
    """
    run = _Run(answers, changes, extra)
    for limit in TEXT_LIMITS:
        everything = run.block(len(run.ordered), limit)
        if len(everything.content) <= max_chars:
            return everything
        if len(run.block(run.num_flips, limit).content) <= max_chars:
            return run.longest(limit, max_chars, at_least=run.num_flips)
    return run.longest(TEXT_LIMITS[-1], max_chars, at_least=0)


def pack(document: Any) -> str:
    """Compress a JSON document, the same way each time."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()


class _Run:
    """Packs parts of one run; its rows are turned into plain values once."""

    def __init__(
        self, answers: Answers, changes: Sequence[Change] | None, extra: Mapping[str, Any]
    ) -> None:
        ids = [str(prompt_id) for prompt_id in answers.measured.table.index]
        self.changes = dict(zip(ids, changes, strict=True)) if changes is not None else {}
        flips = [name for name in ids if name in self.changes and self.changes[name].is_flip]
        self.num_flips = len(flips)
        self.ordered = [*flips, *_in_turns(answers, ids, self.changes)]
        """Prompts in the order in which they are taken."""
        self.extra = {**extra, "components": answers.components}
        self.rungs = answers.measured.rungs
        self.rows: dict[str, list[Mapping[Hashable, Any]]] = defaultdict(list)
        for row in answers.samples.to_dict("records"):
            self.rows[str(row["prompt_id"])].append(row)

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

    def longest(self, limit: int | None, max_chars: int, *, at_least: int) -> Block:
        """Pack as many prompts as fit, by halving; ``at_least`` are known to."""
        fits, fails = self.block(at_least, limit), len(self.ordered)
        while fails - fits.num_prompts > max(1, len(self.ordered) // 32):
            tried = self.block((fits.num_prompts + fails) // 2, limit)
            if len(tried.content) <= max_chars:
                fits = tried
            else:
                fails = tried.num_prompts
        return fits

    def _answer(self, name: str, limit: int | None) -> dict[str, Any]:
        change = self.changes.get(name)
        return {
            "change": change.value if change else "",
            "samples": [self._sample(row, limit) for row in self.rows[name]],
        }

    def _sample(self, row: Mapping[Hashable, Any], limit: int | None) -> dict[str, Any]:
        return {
            "text": _shortened(str(row.get("completion", "")), limit),
            "rungs": [name for name in self.rungs if row[f"rung/{name}"]],
            "rewards": [_rounded(row[f"reward/{name}"]) for name in self.extra["components"]],
            "error": str(row.get("error_class", "")),
            "path": str(row.get("error_path", "")),
            "tokens": int(row["num_tokens"]),
            **{flag: bool(row[flag]) for flag in _FLAGS},
        }


def _in_turns(answers: Answers, ids: Sequence[str], changes: Mapping[str, Change]) -> list[str]:
    """Order the prompts that did not flip so that every stratum gives its share at any length."""
    first = answers.samples.drop_duplicates("prompt_id").set_index("prompt_id")
    classes = first["error_class"] if "error_class" in first else first["difficulty"]
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in ids:
        change = changes.get(name, "")
        if not (isinstance(change, Change) and change.is_flip):
            strata[str(first.at[name, "difficulty"]), change, str(classes.at[name])].append(name)
    turns = [
        (turn / len(members), name)
        for members in strata.values()
        for turn, name in enumerate(members)
    ]
    return [name for _, name in sorted(turns)]


def _shortened(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    head = limit * 3 // 4
    left_out = len(text) - limit
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[head - limit :]}"


def _rounded(value: float) -> float | None:
    return None if value != value else round(float(value), 4)
