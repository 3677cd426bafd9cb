"""Audits recorded completions of other runs: criteria, verdicts, leakage, signs."""

from analysis.audit.audit import Audit, audit_arms
from analysis.audit.runs import Arm, BaselineIs, completion_table, write_runs
from analysis.audit.wording import HOW_TO_READ, audit_sentences, audit_tables

__all__ = [
    "HOW_TO_READ",
    "Arm",
    "Audit",
    "BaselineIs",
    "audit_arms",
    "audit_sentences",
    "audit_tables",
    "completion_table",
    "write_runs",
]
