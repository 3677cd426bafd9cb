"""What the studies of a search have found, and what their winning weights pay for.

Reads ``studies.json`` and the folders of the trials; runs nothing.
"""

from analysis.study.findings import Findings, StudyFindings, study_findings
from analysis.study.importance import Importance, ImportanceTable, importance_of
from analysis.study.records import Point, PointState, Study, read_studies
from analysis.study.writing import findings_document, findings_lines, write_findings

__all__ = [
    "Findings",
    "Importance",
    "ImportanceTable",
    "Point",
    "PointState",
    "Study",
    "StudyFindings",
    "findings_document",
    "findings_lines",
    "importance_of",
    "read_studies",
    "study_findings",
    "write_findings",
]
