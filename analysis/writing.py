"""Markdown, and what a sweep shows in its folder: verdicts.json, verdicts.md, each delta.json."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.sweep import SweepVerdicts, sweep_verdicts
from analysis.tables import Shown
from analysis.trials import TrialVerdict
from analysis.wording import (
    HOW_TO_READ,
    cell_sentences,
    contrast_sentences,
    count_sentence,
    tier_rows,
    trial_sentences,
    verdict_rows,
)
from strictune.records import TRIALS, write_json, write_text

__all__ = [
    "delta_document",
    "inline_text",
    "item_lines",
    "plain",
    "shown_lines",
    "table_lines",
    "verdicts_markdown",
    "write_verdicts",
]

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""What may open a tag; ``p < 0.05`` opens none."""


def write_verdicts(sweep_dir: Path) -> SweepVerdicts:
    """Judge a sweep and write the result into its folder; what was there is replaced.

    A trial without a difference has no ``delta.json``; one from an earlier look is removed.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood.
    """
    verdicts = sweep_verdicts(sweep_dir)
    write_json(sweep_dir / "verdicts.json", plain(verdicts))
    write_text(sweep_dir / "verdicts.md", verdicts_markdown(verdicts))
    for trial in verdicts.trials:
        path = sweep_dir / TRIALS / trial.plan.trial_id / "delta.json"
        delta = delta_document(trial, primary_criterion=verdicts.primary_criterion)
        if delta is None:
            path.unlink(missing_ok=True)
        else:
            write_json(path, delta)
    return verdicts


def delta_document(trial: TrialVerdict, *, primary_criterion: str) -> dict[str, Any] | None:
    """Return what ``delta.json`` says of a trial; None where there is no difference."""
    found, word = trial.verdict.effect, trial.verdict.word
    if found is None:
        return None
    key = f"delta/{primary_criterion}/pass_at_1_pp"
    metrics = {key: found.estimate_pp, f"{key}_lo": found.low_pp, f"{key}_hi": found.high_pp}
    return {
        "metrics": {name: value for name, value in metrics.items() if not math.isnan(value)},
        "verdict": None if word is None else word.value,
        "text": trial.verdict.text,
    }


def verdicts_markdown(verdicts: SweepVerdicts) -> str:
    """Return the sweep's page: table, sentences, tiers, and how to read them."""
    tiers: list[str] = []
    for trial in verdicts.trials:
        if rows := tier_rows(trial):
            title = f"### {inline_text(trial.plan.name)}"
            tiers += [*([""] if tiers else []), title, "", *table_lines(rows)]
    sections = [
        (
            f"# {inline_text(verdicts.sweep)}",
            [count_sentence(verdicts), "", *table_lines(verdict_rows(verdicts))],
        ),
        ("## Trials", item_lines(line for t in verdicts.trials for line in trial_sentences(t))),
        ("## Cells", item_lines(cell_sentences(verdicts))),
        ("## Contrasts", item_lines(contrast_sentences(verdicts))),
        ("## By difficulty", tiers),
        ("## How to read this", item_lines(HOW_TO_READ)),
    ]
    lines = [line for title, body in sections if body for line in (title, "", *body, "")]
    return "\n".join(lines).rstrip() + "\n"


def plain(value: Any) -> Any:
    """Turn dataclasses, models and named tuples into plain objects, and NaN into None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return rows, heading -> text, as a Markdown table; no lines without rows."""
    return _grid(list(rows[0]), [list(row.values()) for row in rows]) if rows else []


def shown_lines(shown: Shown) -> list[str]:
    """Return a table as Markdown, each row on one line."""
    return _grid(shown.headings, [[cell.text for cell in line] for line in shown.lines])


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def item_lines(lines: Iterable[str]) -> list[str]:
    """Return a Markdown list, each item on one line."""
    return [f"- {inline_text(line)}" for line in lines]


def inline_text(text: str) -> str:
    """Keep text on one line, and tags in it from being tags: reasons and names are data."""
    return _TAG.sub("&lt;", " ".join(text.split()))


def _cell(text: str) -> str:
    return inline_text(text).replace("|", "/")
