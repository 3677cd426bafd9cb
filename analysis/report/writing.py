"""Writes ``report.html``, ``report.md`` and its pictures into a sweep's folder.

Whatever comes from a sweep is escaped on its way into the page: text by Jinja, JSON by
``script_json``, completions by base64. The page carries a policy that lets it load nothing.
"""

import html
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from analysis.answers import Change
from analysis.figures.theme import Picture, page_scripts, write_pictures
from analysis.report.catalogue import draw
from analysis.report.completions import baseline_block, blocks, trial_block
from analysis.report.document import Block, Section, report_sections
from analysis.report.gathering import OnPhase, SweepTables, gather, silent
from analysis.report.next_steps import NextStep, next_steps
from analysis.sweep import SweepVerdicts
from analysis.tables import inline_text, item_lines, plain, shown_lines
from analysis.wording import count_sentence, recipe_sentence
from strictune.records import STUDIES, replacing, write_text

__all__ = ["Report", "report_document", "script_json", "write_report"]

_FOLDER = Path(__file__).parent
"""Holds ``page.html``, ``page.css`` and ``page.js``."""
MAX_BYTES = 50_000_000
"""The largest ``report.html``."""
PICTURES = "report_figures"
"""The folder of the pictures that ``report.md`` shows."""


class Report(NamedTuple):
    """The files of a report, and its tables."""

    sweep: SweepTables
    steps: tuple[NextStep, ...]
    html: Path
    markdown: Path
    num_figures: int
    html_bytes: int
    num_flips_left_out: int
    """Flips for which ``report.html`` had no room."""


def write_report(folder: Path, *, max_bytes: int = MAX_BYTES, on_phase: OnPhase = silent) -> Report:
    """Write the report of a sweep, finished or not; an earlier one is replaced.

    Args:
        folder: The sweep's.
        max_bytes: The largest ``report.html``. Tables are in it whatever the limit.
        on_phase: Is told of progress.

    Raises:
        StorageError: ``plan.json`` is missing or cannot be understood.
    """
    sweep = gather(folder, on_phase=on_phase)
    steps = next_steps(
        sweep.verdicts,
        folder,
        flat_groups=sweep.flat_groups,
        failing_above=sweep.failing_above,
        is_search=(folder / STUDIES).exists(),
    )
    on_phase("drawing figures")
    drawn = draw(sweep)
    summary = _summary(sweep.verdicts)
    write_pictures(folder / PICTURES, {f"{figure.name}.svg": figure.document for figure in drawn})
    markdown = folder / "report.md"
    sections = report_sections(sweep, steps=steps, drawn=drawn)
    title = sweep.verdicts.sweep
    write_text(markdown, _markdown(title, summary, sections, pictures=PICTURES))
    on_phase("packing completions")
    page = folder / "report.html"
    before, after = _page_html(
        sweep, summary=summary, sections=sections, drawn=drawn, scripts=page_scripts()
    )
    num_bytes, num_flips_left_out = _write_page(page, before, after, sweep, max_bytes)
    return Report(
        sweep=sweep,
        steps=tuple(steps),
        html=page,
        markdown=markdown,
        num_figures=len(drawn),
        html_bytes=num_bytes,
        num_flips_left_out=num_flips_left_out,
    )


def report_document(report: Report) -> dict[str, Any]:
    """Return every table as plain data; NaN becomes None."""
    sweep = report.sweep
    return {
        "html": str(report.html),
        "markdown": str(report.markdown),
        "html_bytes": report.html_bytes,
        "num_flips_left_out": report.num_flips_left_out,
        "next": [step._asdict() for step in report.steps],
        "verdicts": plain(sweep.verdicts),
        "tables": plain(dict(sweep.tables)),
        "problems": list(sweep.problems),
    }


def _summary(verdicts: SweepVerdicts) -> str:
    words = Counter(
        trial.verdict.word.value for trial in verdicts.trials if trial.verdict.word is not None
    )
    counted = ", ".join(f"{count} {word}" for word, count in words.most_common())
    against = f"Against their baselines: {counted}. {recipe_sentence(verdicts)}" if counted else ""
    made = time.strftime("%Y-%m-%d %H:%M")
    return f"{count_sentence(verdicts)} {against} Task {verdicts.task}, judged by " + (
        f"{verdicts.primary_criterion}. Made {made}."
    )


def _write_page(
    path: Path, before: str, after: str, sweep: SweepTables, max_bytes: int
) -> tuple[int, int]:
    """Write the page with as many completions as fit; returns its size and the flips left out."""
    left = max_bytes - len(before.encode()) - len(after.encode())
    num_runs = 2 + len(sweep.verdicts.trials) * 2
    wrapping = num_runs * len(_block_html("", "")) + sum(
        2 * len(trial.plan.trial_id) + 64 for trial in sweep.verdicts.trials
    )
    num_flips_left_out = 0
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write(before)
        for block in blocks(sweep, max_chars=max(0, left - wrapping)):
            file.write(_block_html(block.name, block.content))
            num_flips_left_out += block.num_flips_left_out
        file.write(after)
    return path.stat().st_size, num_flips_left_out


def _page_html(
    sweep: SweepTables,
    *,
    summary: str,
    sections: Sequence[Section],
    drawn: Sequence[Picture],
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


def _block_html(name: str, content: str) -> str:
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


def _markdown(title: str, summary: str, sections: Sequence[Section], *, pictures: str) -> str:
    """Return the page as Markdown; ``pictures`` is the folder of the figures, relative to it."""
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
        figure: Picture = block.content
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
