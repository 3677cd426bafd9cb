"""What is said of one study, part by part: sentences and rows, for any kind of page."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from analysis.study.findings import StudyFindings
from analysis.study.wording import (
    best_rows,
    component_rows,
    importance_rows,
    importance_sentences,
    probe_rows,
    probe_sentences,
    selection_sentences,
    winner_sentences,
)

__all__ = ["StudySection", "study_sections"]


class StudySection(NamedTuple):
    """One part of a study's findings."""

    title: str
    sentences: Sequence[str] = ()
    rows: Sequence[Mapping[str, str]] = ()
    """A table of display strings; all rows have the same keys."""


def study_sections(found: StudyFindings) -> list[StudySection]:
    """Return the parts that have something to say, in their order."""
    confirmation, audit = found.confirmation, found.audit
    recorded = (
        f"Measured on {audit.num_completions} training completions of the winner and of the cell's "
        f"own settings, searched and trained again (trials with a matrix: {audit.num_trials})."
    )
    components = component_rows(audit)
    sections = [
        StudySection(
            "The winner", (*winner_sentences(confirmation), *selection_sentences(confirmation))
        ),
        StudySection("Best points", rows=best_rows(found)),
        StudySection("What mattered", importance_sentences(found), importance_rows(found)),
        StudySection("What each component pays for", [recorded] if components else [], components),
        StudySection("Probes", probe_sentences(audit), probe_rows(audit)),
    ]
    return [section for section in sections if section.sentences or section.rows]
