"""Writes the findings of a search into its folder: findings.md, findings.json and figures."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.study.earlier import agreement_sentence
from analysis.study.findings import Findings, StudyFindings, study_findings
from analysis.study.importance import NUM_RESAMPLES
from analysis.study.wording import (
    HOW_TO_READ,
    count_sentence,
    crafted_sentences,
    importance_sentences,
    selection_sentences,
    study_sections,
    winner_sentences,
)
from analysis.tables import inline_text, item_lines, plain, table_lines
from strictune.records import write_text

if TYPE_CHECKING:
    from analysis.figures.theme import Picture

__all__ = ["PICTURES", "findings_document", "findings_lines", "write_findings"]

PICTURES = "findings_figures"
"""The folder of the pictures that ``findings.md`` shows."""


def write_findings(sweep_dir: Path, *, num_resamples: int = NUM_RESAMPLES) -> Findings:
    """Write what the studies of a sweep have found, through or not; what was there is replaced.

    Raises:
        StorageError: ``studies.json`` or ``plan.json`` is missing or cannot be understood.
        SpecError: ``sweep.yaml`` cannot be used.
    """
    # Imported here: the figures take altair with them.
    from analysis.figures.theme import write_pictures
    from analysis.study.pictures import draw_study

    findings = study_findings(sweep_dir, num_resamples=num_resamples)
    pictures = {found.study.cell: draw_study(found) for found in findings.studies}
    documents = {
        _file(cell, picture.name): picture.document
        for cell, drawn in pictures.items()
        for picture in drawn
    }
    write_pictures(sweep_dir / PICTURES, documents)
    write_text(sweep_dir / "findings.md", _markdown(findings, pictures))
    text = json.dumps(findings_document(findings), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(sweep_dir / "findings.json", text + "\n")
    return findings


def findings_document(findings: Findings) -> dict[str, Any]:
    """Return the findings as plain data; NaN becomes None. The points are in studies.json."""
    document: dict[str, Any] = plain(findings)
    for study in document["studies"]:
        whole = study.pop("study")
        study["cell"], study["winner"] = whole["cell"], whole["winner"]
        study["objectives"] = whole["objectives"]
        study["best"] = [point["number"] for point in study["best"]]
    return document


def findings_lines(findings: Findings) -> list[str]:
    """Return the sentences that a run prints at its end."""
    lines = []
    for found in findings.studies:
        said = [
            count_sentence(found),
            *winner_sentences(found.confirmation),
            *selection_sentences(found.confirmation),
            *map(agreement_sentence, found.agreements),
            *importance_sentences(found),
            *crafted_sentences(found.audit),
        ]
        lines += [f"{found.study.cell}: {sentence}" for sentence in said]
    return lines


def _markdown(findings: Findings, pictures: Mapping[str, Sequence["Picture"]]) -> str:
    lines = [f"# {inline_text(findings.sweep)}: what the search found", ""]
    for found in findings.studies:
        lines += [f"## {inline_text(found.study.cell)}", "", count_sentence(found), ""]
        for section in study_sections(found):
            lines += [f"### {section.title}", ""]
            for part in (item_lines(section.sentences), table_lines(section.rows)):
                lines += [*part, ""] if part else []
        if figures := _figures(found, pictures[found.study.cell]):
            lines += ["### Figures", "", *figures, ""]
    lines += ["## How to read this", "", *item_lines(HOW_TO_READ)]
    return "\n".join(lines).rstrip() + "\n"


def _figures(found: StudyFindings, pictures: Sequence["Picture"]) -> list[str]:
    return [
        line
        for picture in pictures
        for line in (
            f"![{picture.title}]({PICTURES}/{_file(found.study.cell, picture.name)})",
            "",
            picture.caption,
            "",
        )
    ][:-1]


def _file(cell: str, name: str) -> str:
    return f"{re.sub(r'[^a-z0-9.]+', '-', cell.lower()).strip('-.')}-{name}.svg"
