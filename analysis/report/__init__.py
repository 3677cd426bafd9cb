"""The report of a sweep: verdicts, what to run next, figures, tables and the completions.

``write_report`` writes ``report.md`` with its pictures and one ``report.html`` that needs no
network. Importing this package takes altair with it, so callers import it where they need it.
"""

from analysis.report.gathering import SweepTables, gather
from analysis.report.next_steps import NextStep, next_steps
from analysis.report.writing import Report, report_document, write_report

__all__ = [
    "NextStep",
    "Report",
    "SweepTables",
    "gather",
    "next_steps",
    "report_document",
    "write_report",
]
