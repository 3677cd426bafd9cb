"""Lays out a report as Markdown, with its pictures beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.pages import inline_text, item_lines, shown_lines
from analysis.report.catalogue import ReportFigure
from analysis.report.document import Block, Section
from analysis.report.next_steps import NextStep

__all__ = ["report_markdown"]


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
