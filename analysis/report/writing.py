"""Writes ``report.html``, ``report.md`` and its pictures into a sweep's folder."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis import figures
from analysis.report.catalogue import ReportFigure, draw
from analysis.report.completions import blocks
from analysis.report.document import report_sections
from analysis.report.gathering import OnPhase, SweepTables, gather, silent
from analysis.report.next_steps import NextStep, next_steps
from analysis.report.page import block_html, page_html, report_markdown
from analysis.sweep import SweepVerdicts
from analysis.wording import count_sentence, recipe_sentence
from analysis.writing import plain
from strictune.records import STUDIES, replacing, write_text

__all__ = ["MAX_BYTES", "PICTURES", "Report", "report_document", "write_report"]

MAX_BYTES = 50_000_000
"""The largest ``report.html``."""
PICTURES = "report_figures"
"""The folder of the pictures that ``report.md`` shows."""


class Report(NamedTuple):
    """What was written, and from what."""

    sweep: SweepTables
    steps: tuple[NextStep, ...]
    html: Path
    markdown: Path
    num_figures: int
    html_bytes: int
    num_flips_left_out: int
    """Flips for which ``report.html`` had no room."""


def write_report(folder: Path, *, max_bytes: int = MAX_BYTES, on_phase: OnPhase = silent) -> Report:
    """Report on a sweep, finished or not; what was there from an earlier look is replaced.

    Args:
        folder: The sweep's.
        max_bytes: The largest ``report.html``. Tables are in it whatever the limit.
        on_phase: Shows progress.

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
    _write_pictures(folder / PICTURES, drawn)
    markdown = folder / "report.md"
    sections = report_sections(sweep, steps=steps, drawn=drawn)
    title = sweep.verdicts.sweep
    write_text(markdown, report_markdown(title, summary, sections, pictures=PICTURES))
    on_phase("packing completions")
    page = folder / "report.html"
    before, after = page_html(
        sweep, summary=summary, sections=sections, drawn=drawn, scripts=figures.page_scripts()
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


def _write_pictures(folder: Path, drawn: Sequence[ReportFigure]) -> None:
    folder.mkdir(exist_ok=True)
    names = {f"{figure.name}.svg" for figure in drawn}
    for figure in drawn:
        write_text(folder / f"{figure.name}.svg", figures.to_svg(figure.document))
    for old in folder.glob("*.svg"):
        if old.name not in names:
            old.unlink()


def _write_page(
    path: Path, before: str, after: str, sweep: SweepTables, max_bytes: int
) -> tuple[int, int]:
    """Write the page with as many completions as fit; returns its size and the flips left out."""
    left = max_bytes - len(before.encode()) - len(after.encode())
    num_runs = 2 + len(sweep.verdicts.trials) * 2
    wrapping = num_runs * len(block_html("", "")) + sum(
        2 * len(trial.plan.trial_id) + 64 for trial in sweep.verdicts.trials
    )
    num_flips_left_out = 0
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write(before)
        for block in blocks(sweep, max_chars=max(0, left - wrapping)):
            file.write(block_html(block.name, block.content))
            num_flips_left_out += block.num_flips_left_out
        file.write(after)
    return path.stat().st_size, num_flips_left_out
