"""The report as Markdown: verdicts, what to run next, sentences, and pictures beside it."""

from collections.abc import Sequence

from analysis.pages import inline_text, item_lines, table_lines
from analysis.report.catalogue import ReportFigure
from analysis.report.comparisons import comparison_texts
from analysis.report.control_rows import control_sentences, control_texts
from analysis.report.equal_tokens import equal_token_texts
from analysis.report.gathering import SweepTables, reading_rules
from analysis.report.measure_rows import measure_texts
from analysis.report.next_steps import NextStep
from analysis.report.trial_rows import ALL_DIFFICULTIES
from analysis.study.wording import count_sentence, study_sections
from analysis.wording import (
    cell_sentences,
    contrast_sentences,
    tier_rows,
    trial_sentences,
    verdict_rows,
)

__all__ = ["report_markdown"]

MAX_TIERS = 40
"""Trials whose rungs by difficulty are listed; of more the HTML file and --json hold them."""


def report_markdown(
    sweep: SweepTables,
    *,
    summary: str,
    steps: Sequence[NextStep],
    drawn: Sequence[ReportFigure],
    pictures: str,
) -> str:
    """Return the page.

    Args:
        sweep: The tables.
        summary: The sentence below the title.
        steps: What to run next.
        drawn: The figures; their pictures lie in the folder ``pictures``, as ``<name>.svg``.
        pictures: Relative to the page.
    """
    verdicts = sweep.verdicts
    trials = [line for trial in verdicts.trials for line in trial_sentences(trial)]
    sections = [
        (f"# {inline_text(verdicts.sweep)}", [inline_text(summary)]),
        ("## Verdicts", table_lines(verdict_rows(verdicts))),
        ("## What to run next", [line for step in steps for line in _step(step)]),
        ("## Trials", item_lines(trials)),
        ("## Cells", item_lines(cell_sentences(verdicts))),
        ("## Contrasts", item_lines(contrast_sentences(verdicts))),
        ("## What the search found", _search(sweep)),
        ("## Cells against each other", table_lines(_comparisons(sweep))),
        ("## Models at equal tokens", table_lines(_equal_tokens(sweep))),
        ("## Control arms", _controls(sweep)),
        ("## Figures", _figures(drawn, pictures)),
        ("## By difficulty", _tiers(sweep)),
        ("## Measures", _measures(sweep)),
        ("## How to read this", item_lines(reading_rules(sweep))),
    ]
    lines = [line for title, body in sections if body for line in (title, "", *body, "")]
    return "\n".join(lines).rstrip() + "\n"


def _comparisons(sweep: SweepTables) -> list[dict[str, str]]:
    rows = sweep.tables["comparisons"]
    return [comparison_texts(row) for row in rows if row["difficulty"] == ALL_DIFFICULTIES]


def _controls(sweep: SweepTables) -> list[str]:
    rows = sweep.tables["controls"]
    if not rows:
        return []
    sentences = control_sentences(sweep.verdicts, sweep.tables["comparisons"])
    return [*table_lines([control_texts(row) for row in rows]), "", *item_lines(sentences)]


def _equal_tokens(sweep: SweepTables) -> list[dict[str, str]]:
    return [equal_token_texts(row) for row in sweep.tables["equal_tokens"]]


def _figures(drawn: Sequence[ReportFigure], pictures: str) -> list[str]:
    return [
        line
        for figure in drawn
        for line in (
            f"### {figure.title}",
            "",
            figure.caption,
            "",
            f"![{figure.title}]({pictures}/{figure.name}.svg)",
            "",
        )
    ][:-1]


def _search(sweep: SweepTables) -> list[str]:
    lines: list[str] = []
    for found in sweep.search.studies if sweep.search is not None else ():
        lines += [f"### {inline_text(found.study.cell)}", "", count_sentence(found), ""]
        for section in study_sections(found):
            lines += [f"#### {section.title}", ""]
            for part in (item_lines(section.sentences), table_lines(section.rows)):
                lines += [*part, ""] if part else []
    return lines[:-1]


def _tiers(sweep: SweepTables) -> list[str]:
    trials = [trial for trial in sweep.verdicts.trials if trial.comparison is not None]
    if len(trials) > MAX_TIERS:
        return [f"{len(trials)} trials: see report.html, or `strictune report --json`."]
    return [
        line
        for trial in trials
        for line in (f"### {inline_text(trial.plan.name)}", "", *table_lines(tier_rows(trial)), "")
    ][:-1]


def _measures(sweep: SweepTables) -> list[str]:
    rows = sweep.tables["measures"]
    names = dict.fromkeys(str(row["trial"]) for row in rows)
    if len(names) > MAX_TIERS:
        return [f"{len(names)} trials: see report.html, or `strictune report --json`."]
    lines = []
    for name in names:
        texts = [measure_texts(row) for row in rows if row["trial"] == name]
        lines += [f"### {inline_text(name)}", "", *table_lines(texts), ""]
    return lines[:-1]


def _step(step: NextStep) -> list[str]:
    lines = [f"1. {inline_text(step.text)}"]
    return [*lines, "", "   ```bash", f"   {step.command}", "   ```", ""] if step.command else lines
