"""Lays out a report as one HTML file: sections, figures, and blocks of completions.

Whatever comes from a sweep is escaped on its way in: text by Jinja, JSON by ``script_json``,
completions by base64. The page carries a policy that lets it load nothing.
"""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from analysis.report.answers import Change
from analysis.report.catalogue import ReportFigure
from analysis.report.document import Section
from analysis.report.gathering import SweepTables
from analysis.report.packing import baseline_block, trial_block

__all__ = ["block_html", "page_html", "script_json"]

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


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
