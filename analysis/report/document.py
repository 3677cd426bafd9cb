"""What a report says, section by section, for both of its pages.

Sections hold blocks of a few kinds; ``page`` and ``markdown`` lay them out. What only one of the
pages shows is marked so.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from analysis.fields import FIELDS
from analysis.figures.theme import Picture
from analysis.measured import ALL_DIFFICULTIES
from analysis.report.answers import MEASURES
from analysis.report.comparisons import COMPARISONS
from analysis.report.controls import ANSWERS, ARMS, control_note, control_sentences
from analysis.report.gathering import SweepTables, reading_rules
from analysis.report.next_steps import NextStep
from analysis.report.stages import EQUAL_TOKENS
from analysis.study.wording import count_sentence, study_sections
from analysis.tables import Row, Table, shown, shown_texts
from analysis.wording import (
    TIERS,
    cell_sentences,
    contrast_sentences,
    trial_sentences,
    verdict_table,
)

__all__ = ["Block", "Section", "report_sections"]

OPENING = "differences"
"""The figure above the verdict table."""
MAX_TIERS = 40
"""Trials whose criteria by difficulty ``report.md`` lists; ``report.html`` and ``--json`` hold all.
"""

Page = Literal["html", "markdown"]


class Block(NamedTuple):
    """A piece of a section."""

    kind: Literal[
        "heading", "subheading", "text", "note", "items", "steps", "table", "figure", "folded"
    ]
    content: Any
    """A text; texts; a ``Shown`` table; a figure; of ``folded`` the blocks within."""
    title: str = ""
    """Of what is folded away."""
    only: Page | None = None


class Section(NamedTuple):
    """A part of the report with a heading."""

    name: str
    title: str
    blocks: Sequence[Block]


def report_sections(
    sweep: SweepTables, *, steps: Sequence[NextStep], drawn: Sequence[Picture]
) -> list[Section]:
    """Return the sections that have something to say, in their order."""
    verdicts = sweep.verdicts
    first = [figure for figure in drawn if figure.name == OPENING]
    others = [figure for figure in drawn if figure.name != OPENING]
    table = verdict_table(verdicts.primary_criterion, verdicts.criteria)
    nothing = Block("note", "No trial has a result yet.", only="html")
    sections = [
        Section("verdicts", "Verdicts", [*_figures(first), *_table(table, verdicts.trials)]),
        Section("next", "What to run next", [Block("steps", steps)]),
        Section("sentences", "In words", _sentences(sweep)),
        Section("search", "What the search found", list(_search(sweep))),
        Section("comparisons", "Cells against each other", _comparisons(sweep)),
        Section("control-arms", "Control arms", _controls(sweep)),
        Section("figures", "Figures", list(_figures(others)) or [nothing]),
        Section("tiers", "By difficulty", _tiers(sweep)),
        Section("measures", "Measures", _listed(MEASURES, sweep)),
        Section("fields", "Fields of the answer", _listed(FIELDS, sweep)),
        Section("reading", "How to read this", [Block("items", reading_rules(sweep))]),
    ]
    return [section for section in sections if section.blocks]


def _figures(drawn: Sequence[Picture]) -> Iterator[Block]:
    for figure in drawn:
        yield Block("heading", figure.title)
        yield Block("text", figure.caption)
        yield Block("figure", figure)


def _table(table: Table, rows: Sequence[Any]) -> list[Block]:
    return [Block("table", shown(table, rows))] if rows else []


def _sentences(sweep: SweepTables) -> list[Block]:
    verdicts = sweep.verdicts
    parts = {
        "Trials": [line for trial in verdicts.trials for line in trial_sentences(trial)],
        "Cells": cell_sentences(verdicts),
        "Contrasts": contrast_sentences(verdicts),
    }
    return [
        Block("folded", [Block("items", lines)], title) for title, lines in parts.items() if lines
    ]


def _search(sweep: SweepTables) -> Iterator[Block]:
    for found in sweep.search.studies if sweep.search is not None else ():
        yield Block("heading", found.study.cell)
        yield Block("text", count_sentence(found))
        for section in study_sections(found):
            yield Block("subheading", section.title)
            if section.sentences:
                yield Block("items", section.sentences)
            if section.rows:
                yield Block("table", shown_texts(section.rows))


def _comparisons(sweep: SweepTables) -> list[Block]:
    rows = sweep.tables["comparisons"]
    whole = [row for row in rows if row["difficulty"] == ALL_DIFFICULTIES]
    parts = [row for row in rows if row["difficulty"] != ALL_DIFFICULTIES]
    none = "No two finished cells differ in one key only."
    return [
        *(_table(COMPARISONS, whole) or [Block("note", none, only="html")]),
        *([Block("folded", _table(COMPARISONS, parts), "By difficulty", "html")] if parts else []),
        *_titled(EQUAL_TOKENS, sweep.tables["equal_tokens"]),
    ]


def _titled(table: Table, rows: Sequence[Row]) -> list[Block]:
    return [Block("heading", table.title), *_table(table, rows)] if rows else []


def _controls(sweep: SweepTables) -> list[Block]:
    rows = sweep.tables["controls"]
    if not rows:
        note = control_note(sweep.folder, sweep.verdicts, sweep.prompts)
        return [Block("note", note, only="html")]
    sentences = control_sentences(sweep.verdicts, sweep.tables["comparisons"])
    said = [Block("items", sentences)] if sentences else []
    known = [row for row in rows if "right" in row]
    return [*_table(ARMS, rows), *_titled(ANSWERS, known), *said]


def _tiers(sweep: SweepTables) -> list[Block]:
    tiers = {
        trial.plan.trial_id: (trial.plan.name, trial.comparison.tiers)
        for trial in sweep.verdicts.trials
        if trial.comparison is not None
    }
    return _by_trial(TIERS, list(tiers.values()))


def _listed(table: Table, sweep: SweepTables) -> list[Block]:
    by_trial: dict[str, list[Row]] = {}
    for row in sweep.tables[table.name]:
        by_trial.setdefault(str(row["trial"]), []).append(row)
    return _by_trial(table, list(by_trial.items()))


def _by_trial(table: Table, trials: Sequence[tuple[str, Sequence[Any]]]) -> list[Block]:
    """Show a table of each trial, on the page that has no others of a trial."""
    if len(trials) > MAX_TIERS:
        text = f"{len(trials)} trials: see report.html, or `strictune report --json`."
        return [Block("text", text, only="markdown")]
    return [
        block
        for name, rows in trials
        for block in (
            Block("heading", name, only="markdown"),
            Block("table", shown(table, rows), only="markdown"),
        )
    ]
