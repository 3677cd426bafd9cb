"""The findings of a search, from ``studies.json`` and the folders of the trials."""

from analysis.study.findings import Findings, study_findings
from analysis.study.writing import findings_document, findings_lines, write_findings

__all__ = ["Findings", "findings_document", "findings_lines", "study_findings", "write_findings"]
