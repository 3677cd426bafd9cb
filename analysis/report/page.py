"""Lays out a report: as one HTML file with blocks of completions, and as Markdown.

Whatever comes from a sweep is escaped on its way in: text by Jinja, JSON by ``script_json``,
completions by base64. The page carries a policy that lets it load nothing.
"""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from analysis.pages import inline_text, item_lines, shown_lines
from analysis.report.answers import Change
from analysis.report.catalogue import ReportFigure
from analysis.report.completions import baseline_block, trial_block
from analysis.report.document import Block, Section
from analysis.report.gathering import SweepTables
from analysis.report.next_steps import NextStep

__all__ = ["block_html", "page_html", "report_markdown", "script_json"]

_FOLDER = Path(__file__).parent
"""Holds ``page.html``, ``page.css`` and ``page.js``."""


def page_html(
    sweep: SweepTables,
    *,
    summary: str,
    sections: Sequence[Section],
    drawn: Sequence[ReportFigure],
    scripts: str,
) -> tuple[str, str]:
    """Return the page in two halves; blocks go between them."""
    shown = [
        section for section in sections if any(block.only != "markdown" for block in section.blocks)
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    before = environment.get_template("page.html").render(
        title=sweep.verdicts.sweep,
        summary=summary,
        style=_part("page.css"),
        sections=shown[:-1],
        reading=shown[-1],
        sweep=script_json(_index(sweep)),
        documents=script_json({figure.name: figure.document for figure in drawn}),
        scripts=scripts,
    )
    return before, f"<script>\n{_part('page.js')}\n</script>\n</body>\n</html>\n"


def block_html(name: str, content: str) -> str:
    """Return the element that carries a block; its content is base64."""
    return f'<script type="text/plain" id="{html.escape(name)}">{content}</script>\n'


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
        "primary_criterion": verdicts.primary_criterion,
        "criteria": verdicts.criteria,
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


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def report_markdown(title: str, summary: str, sections: Sequence[Section], *, pictures: str) -> str:
    """Return the page.

    Args:
        title: Of the page.
        summary: The sentence below the title.
        sections: From ``report_sections``.
        pictures: The folder of the figures' pictures ``<name>.svg``, relative to the page.
    """
    lines = [f"# {inline_text(title)}", "", inline_text(summary), ""]
    for section in sections:
        body = _body(section.blocks, pictures)
        if body:
            lines += [f"## {section.title}", "", *body]
    return "\n".join(lines).rstrip() + "\n"


def _body(blocks: Sequence[Block], pictures: str) -> list[str]:
    lines = []
    for block in blocks:
        if block.only in (None, "markdown"):
            lines += [*_lines(block, pictures), ""]
    return lines


def _lines(block: Block, pictures: str) -> list[str]:
    if block.kind == "folded":
        head = ["<details>", f"<summary>{inline_text(block.title)}</summary>", ""]
        return [*head, *_body(block.content, pictures), "</details>"]
    if block.kind == "figure":
        figure: ReportFigure = block.content
        return [f"![{figure.title}]({pictures}/{figure.name}.svg)"]
    return _KINDS[block.kind](block.content)


def _steps(steps: Sequence[NextStep]) -> list[str]:
    lines: list[str] = []
    for step in steps:
        lines.append(f"1. {inline_text(step.text)}")
        if step.command:
            lines += ["", "   ```bash", f"   {step.command}", "   ```", ""]
    return lines


_KINDS: Mapping[str, Callable[[Any], list[str]]] = {
    "heading": lambda text: [f"### {inline_text(text)}"],
    "subheading": lambda text: [f"#### {inline_text(text)}"],
    "text": lambda text: [inline_text(text)],
    "items": item_lines,
    "steps": _steps,
    "table": shown_lines,
}
