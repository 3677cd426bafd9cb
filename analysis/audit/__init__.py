"""Audits of completions that other people's runs left: rungs, verdicts, leakage, signs.

Works on a table of completions and knows no task; ``arms`` says which columns it has.
"""

from analysis.audit.arms import BaselineIs, completion_table
from analysis.audit.audit import Audit, audit_completions
from analysis.audit.wording import (
    HOW_TO_READ,
    audit_sentences,
    behaviour_rows,
    gain_rows,
    rate_rows,
    reward_rows,
)

__all__ = [
    "HOW_TO_READ",
    "Audit",
    "BaselineIs",
    "audit_completions",
    "audit_sentences",
    "behaviour_rows",
    "completion_table",
    "gain_rows",
    "rate_rows",
    "reward_rows",
]
