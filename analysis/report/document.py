"""The sections of a report, for both of its pages, and the tables of one trial.

Sections hold blocks of a few kinds, which ``writing`` lays out. Tables of sides or difficulties are
wide: rows that agree on all else stand in one line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from analysis.answers import FIELDS, MEASURES
from analysis.figures.theme import Picture
from analysis.measured import ALL_DIFFICULTIES
from analysis.report.comparisons import COMPARISONS, EQUAL_TOKENS
from analysis.report.controls import ANSWERS, ARMS, control_note, control_sentences
from analysis.report.gathering import SweepTables, reading_rules
from analysis.report.next_steps import NextStep
from analysis.study.wording import count_sentence, study_sections
from analysis.tables import (
    Column,
    Row,
    Shown,
    Table,
    effect_in,
    percent,
    pivot,
    rate_in,
    rate_text,
    shown,
    shown_texts,
)
from analysis.verdicts import effect_text
from analysis.wording import (
    TIERS,
    cell_sentences,
    contrast_sentences,
    trial_sentences,
    verdict_table,
)

__all__ = ["Block", "Section", "report_sections", "trial_tables"]

OPENING = "differences"
"""The figure above the verdict table."""
MAX_TIERS = 40
"""Trials whose criteria by difficulty ``report.md`` lists; ``report.html`` and ``--json`` hold all.
"""

Page = Literal["html", "markdown"]


class Block(NamedTuple):
    """A piece of a section; what only one of the pages shows is marked so."""

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


SIDES = ("baseline", "trained")


def trial_tables(tables: Mapping[str, Sequence[Row]]) -> list[Shown]:
    """Lay out every table of a trial that has rows, by the names of ``gathering.TABLES``."""
    return [shown(*table_of(tables[name])) for name, table_of in _TABLES.items() if tables[name]]


def _of(line: Row) -> dict[str, str]:
    return {"trial": line["trial_id"]}


def _tier(line: Row, **more: str) -> dict[str, str]:
    """Filter by a line's difficulty, unless it is about all of them."""
    whole = line["difficulty"] == ALL_DIFFICULTIES
    return {**_of(line), **({} if whole else {"difficulty": line["difficulty"]}), **more}


def _across(
    names: Sequence[str],
    value: Callable[[Row | None], Any],
    text: Callable[[Any], str],
    filters: Callable[[Row, str], Mapping[str, str]] | None = None,
) -> list[Column]:
    """Return a column for each of the values that ``pivot`` has put across."""

    def column(name: str) -> Column:
        following = None if filters is None else (lambda line: filters(line, name))
        return Column(name, lambda line: value(line["cells"].get(name)), text, following)

    return [column(name) for name in names]


def _difficulties(rows: Sequence[Row]) -> tuple[Table, Sequence[Row]]:
    lines, criteria = pivot(rows, ("difficulty", "side"), "criterion")

    def failing(line: Row, criterion: str) -> Mapping[str, str]:
        return _tier(line, criterion=f"-{criterion}", side=line["side"])

    columns = (
        Column("difficulty, side", lambda line: f"{line['difficulty']}, {line['side']}"),
        Column("prompts", "num_prompts"),
        *_across(criteria, rate_in, rate_text, failing),
    )
    return Table("difficulties", "Criteria by difficulty", columns, _tier), lines


def _changes(rows: Sequence[Row]) -> tuple[Table, Sequence[Row]]:
    def counted(row: Row) -> str:
        rate = rate_in(row)
        return f"{row['num_prompts']} ({rate_text(rate)})" if rate else str(row["num_prompts"])

    lines, changes = pivot(rows, ("difficulty",), "change")
    found = _across(changes, lambda row: row, counted, lambda line, name: _tier(line, change=name))
    columns = (Column("difficulty", "difficulty"), *found)
    return Table("changes", "What became of the prompts", columns, _tier), lines


def _sided(
    column: str, title: str, filter_name: str, rows: Sequence[Row]
) -> tuple[Table, Sequence[Row]]:
    """Put the sides of each value of a column beside each other."""
    lines, _ = pivot(rows, (column,), "side")

    def following(line: Row, side: str = "trained") -> dict[str, str]:
        of_side = {"side": side} if filter_name == "error" else {}
        return {**_of(line), filter_name: line[column], **of_side}

    columns = (
        Column(column.replace("_", " "), column),
        *([Column("prompts", "num_prompts")] if "num_prompts" in rows[0] else ()),
        *_across(SIDES, rate_in, rate_text, following),
    )
    return Table(column, title, columns, following), lines


def _by_stage(
    title: str,
    suffix: Callable[[Row], str],
    value: Callable[[Row | None], Any],
    text: Callable[[Any], str],
    rows: Sequence[Row],
) -> tuple[Table, Sequence[Row]]:
    """Put the difficulties of each stage beside each other."""
    lines, tiers = pivot(rows, ("stage",), "difficulty")
    first = Column("stage, validation split", lambda row: f"{row['stage']} {suffix(row)}")
    return Table("stages", title, (first, *_across(tiers, value, text))), lines


_tokens: Callable[[float], str] = "{:.0f}".format

_LENGTHS = Table(
    "lengths",
    "Completion length",
    (
        Column("tokens of a completion", "side"),
        *(Column(name, name, _tokens) for name in ("p10", "p25", "p50", "p75", "p90", "mean")),
        Column("truncated", "truncated", percent),
    ),
    _of,
)
_PARTS = Table(
    "parts",
    "Parts of the reward in training",
    (
        Column("part of the reward", "part"),
        Column("groups", "num_groups"),
        Column("first third", "first", "{:.2f}".format),
        Column("last third", "last", "{:.2f}".format),
        Column("groups without spread", "flat_frac", percent),
    ),
)
_JUDGE = Table(
    "judge",
    "The judge in training",
    (
        Column("judge, by step", "fact", lambda name: name.replace("_", " ")),
        *(
            Column(name, name, lambda value: f"{float(f'{value:.3g}'):.15g}")
            for name in ("mean", "largest", "total")
        ),
    ),
)

_TABLES: Mapping[str, Callable[[Sequence[Row]], tuple[Table, Sequence[Row]]]] = {
    "difficulties": _difficulties,
    "changes": _changes,
    "error_classes": partial(_sided, "error_class", "Error classes, share of completions", "error"),
    "constructs": partial(_sided, "construct", "Primary criterion by construct", "construct"),
    **{
        table.name: partial(lambda table, rows: (table, rows), table)
        for table in (MEASURES, FIELDS, _PARTS, _JUDGE, _LENGTHS)
    },
    "stages": partial(
        _by_stage,
        "Primary criterion after each stage",
        lambda row: f"(to step {row['step']})",
        rate_in,
        rate_text,
    ),
    "stage_differences": partial(
        _by_stage,
        "Stage against stage, exploratory",
        lambda row: "minus the stage before",
        effect_in,
        effect_text,
    ),
}
"""By the name of their rows, in the order of the page."""
