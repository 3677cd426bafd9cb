"""The report as one HTML file: text, tables, figures, and blocks of completions.

Whatever comes from a sweep is escaped on its way in: text by ``html.escape``, JSON by
``script_json``, completions by base64. The page carries a policy that lets it load nothing.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from analysis.report.answers import Change
from analysis.report.catalogue import ReportFigure
from analysis.report.comparisons import comparison_texts
from analysis.report.control_rows import control_note, control_sentences, control_texts
from analysis.report.equal_tokens import equal_token_texts
from analysis.report.gathering import SweepTables, reading_rules
from analysis.report.next_steps import NextStep
from analysis.report.packing import baseline_block, trial_block
from analysis.report.run_rows import Row
from analysis.report.trial_rows import ALL_DIFFICULTIES
from analysis.study import StudyFindings
from analysis.study.wording import StudySection, count_sentence, study_sections
from analysis.sweep import SweepVerdicts
from analysis.trials import TrialVerdict
from analysis.wording import (
    cell_sentences,
    contrast_sentences,
    trial_sentences,
    verdict_rows,
)

__all__ = ["block_html", "page_html", "script_json"]

_PLACEHOLDER = re.compile(r"\[\[(\w+)\]\]")
BLOCKS = "[[blocks]]"
"""Where the blocks of completions go: written one by one, so they are no part of the text."""
OPEN_SENTENCES = 40
"""More sentences than this are folded away."""


def page_html(
    sweep: SweepTables,
    *,
    summary: str,
    steps: Sequence[NextStep],
    drawn: Sequence[ReportFigure],
    scripts: str,
) -> tuple[str, str]:
    """Return the page in two halves; blocks go between them."""
    verdicts = sweep.verdicts
    values = {
        "title": _text(verdicts.sweep),
        "summary": _text(summary),
        "style": _part("css"),
        "verdicts": _verdict_table(verdicts),
        "next": _steps(steps),
        "sentences": _sentences(verdicts),
        "search": _search(sweep),
        "comparisons": _comparisons(sweep.tables["comparisons"])
        + _equal_tokens(sweep.tables["equal_tokens"]),
        "controls": _controls(sweep),
        "figures": "\n".join(map(_figure, drawn)) or _note("No trial has a result yet."),
        "reading": _list(reading_rules(sweep)),
        "sweep": script_json(_index(sweep)),
        "documents": script_json({figure.name: figure.document for figure in drawn}),
        "scripts": scripts,
        "program": _part("js"),
    }
    before, after = _part("html").split(BLOCKS)
    return _filled(before, values), _filled(after, values)


def block_html(name: str, content: str) -> str:
    """Return the element that carries a block; its content is base64."""
    return f'<script type="text/plain" id="{_text(name)}">{content}</script>\n'


def script_json(document: Any) -> str:
    """Return JSON that may stand inside a script element, whatever its strings hold."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _index(sweep: SweepTables) -> dict[str, Any]:
    """Return what the program knows before it opens a block."""
    verdicts = sweep.verdicts
    staged = {row["trial_id"] for row in sweep.tables["stages"]}
    return {
        "sweep": verdicts.sweep,
        "primary_rung": verdicts.primary_rung,
        "rungs": verdicts.rungs,
        "changes": [change.value for change in Change],
        "prompt_problem": sweep.prompts.problem,
        "trials": [
            {
                "id": trial.plan.trial_id,
                "name": trial.plan.name,
                "block": trial_block(trial) if trial.result else None,
                "tables": trial_block(trial)
                if trial.result or trial.plan.trial_id in staged
                else None,
                "baseline": baseline_block(trial.comparison.baseline) if trial.comparison else None,
            }
            for trial in verdicts.trials
        ],
    }


def _verdict_table(verdicts: SweepVerdicts) -> str:
    rows = verdict_rows(verdicts)
    if not rows:
        return _note("The plan holds no trials.")
    targets = _targets(verdicts)
    lines = []
    for trial, row in zip(verdicts.trials, rows, strict=True):
        lines.append("".join(_cell(name, text, trial, targets[name]) for name, text in row.items()))
    return _table(rows[0], lines)


def _targets(verdicts: SweepVerdicts) -> dict[str, dict[str, str]]:
    """Return what the completion browser filters by, for each column of the verdict table."""
    flips = {"change": "flips"}
    failing = {rung: {"rung": f"-{rung}"} for rung in verdicts.rungs}
    primary = verdicts.primary_rung
    targets: dict[str, dict[str, str]] = {
        "delta": flips,
        "verdict": flips,
        f"{primary} Pass@1": {"rung": primary},
        "baseline": {"rung": primary, "side": "baseline"},
        **failing,
    }
    headings = verdict_rows(verdicts)[0]
    return {name: targets.get(name, {}) for name in headings}


def _cell(name: str, text: str, trial: TrialVerdict, target: Mapping[str, str]) -> str:
    content = _text(text)
    if name == "verdict" and trial.verdict.word is not None:
        word = trial.verdict.word.value
        content = f'<span class="word {_text(word.replace(" ", "-"))}">{content}</span>'
    if trial.result is not None:
        query = _text(urlencode({"trial": trial.plan.trial_id, **target}))
        content = f'<a href="#browse?{query}">{content}</a>'
    return f"<td>{content}</td>"


def _steps(steps: Iterable[NextStep]) -> str:
    lines = []
    for step in steps:
        command = f"<br><code>{_text(step.command)}</code>" if step.command else ""
        lines.append(f"<li>{_text(step.text)}{command}</li>")
    return f"<ol>{''.join(lines)}</ol>"


def _sentences(verdicts: SweepVerdicts) -> str:
    parts = {
        "Trials": [line for trial in verdicts.trials for line in trial_sentences(trial)],
        "Cells": cell_sentences(verdicts),
        "Contrasts": contrast_sentences(verdicts),
    }
    return "\n".join(
        f"<details{' open' if len(lines) <= OPEN_SENTENCES else ''}>"
        f"<summary>{_text(title)}</summary>{_list(lines)}</details>"
        for title, lines in parts.items()
        if lines
    )


def _search(sweep: SweepTables) -> str:
    """Return the section of a search; empty without one."""
    if sweep.search is None:
        return ""
    studies = "\n".join(_study(found) for found in sweep.search.studies)
    return f'<section id="search">\n<h2>What the search found</h2>\n{studies}\n</section>'


def _study(found: StudyFindings) -> str:
    parts = "\n".join(_study_section(section) for section in study_sections(found))
    head = f"<h3>{_text(found.study.cell)}</h3>\n<p>{_text(count_sentence(found))}</p>"
    return f"{head}\n{parts}"


def _study_section(section: StudySection) -> str:
    said = _list(section.sentences) if section.sentences else ""
    lines = ["".join(f"<td>{_text(text)}</td>" for text in row.values()) for row in section.rows]
    return (
        f"<h4>{_text(section.title)}</h4>\n{said}{_table(section.rows[0], lines) if lines else ''}"
    )


def _comparisons(rows: Sequence[Row]) -> str:
    if not rows:
        return _note("No two finished cells differ in one key only.")
    whole = [row for row in rows if row["difficulty"] == ALL_DIFFICULTIES]
    parts = [row for row in rows if row["difficulty"] != ALL_DIFFICULTIES]
    folded = f"<details><summary>By difficulty</summary>{_comparison_table(parts)}</details>"
    return _comparison_table(whole) + folded


def _controls(sweep: SweepTables) -> str:
    rows = sweep.tables["controls"]
    if not rows:
        return _note(control_note(sweep.folder, sweep.verdicts, sweep.prompts))
    texts = [control_texts(row) for row in rows]
    lines = ["".join(f"<td>{_text(text)}</td>" for text in shown.values()) for shown in texts]
    sentences = control_sentences(sweep.verdicts, sweep.tables["comparisons"])
    return _table(texts[0], lines) + (_list(sentences) if sentences else "")


def _equal_tokens(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    texts = [equal_token_texts(row) for row in rows]
    lines = ["".join(f"<td>{_text(text)}</td>" for text in shown.values()) for shown in texts]
    return f"<h3>Models at equal tokens</h3>\n{_table(texts[0], lines)}"


def _comparison_table(rows: Sequence[Row]) -> str:
    """Return a table of comparisons; cells lead to the completions of the first side."""
    texts = [comparison_texts(row) for row in rows]
    lines = []
    for row, shown in zip(rows, texts, strict=True):
        query = _text(urlencode({"trial": row["ours_trial_id"]}))
        cells = (f'<td><a href="#browse?{query}">{_text(text)}</a></td>' for text in shown.values())
        lines.append("".join(cells))
    return _table(texts[0], lines)


def _table(headings: Iterable[str], lines: Sequence[str]) -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _figure(figure: ReportFigure) -> str:
    name = _text(figure.name)
    return (
        f"<h3>{_text(figure.title)}</h3>\n<p>{_text(figure.caption)}</p>\n"
        f'<figure id="figure-{name}" role="img" aria-label="{_text(figure.title)}"></figure>'
    )


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _note(text: str) -> str:
    return f'<p class="note">{_text(text)}</p>'


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders, once: what is filled in is not searched again."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _part(kind: str) -> str:
    """Read ``page.html``, ``page.css`` or ``page.js``, which lie beside this module."""
    return Path(__file__).with_suffix(f".{kind}").read_text(encoding="utf-8")


def _text(text: str) -> str:
    return html.escape(text, quote=True)
