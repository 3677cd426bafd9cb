"""What the records of a sweep show: rates, differences with intervals, verdicts in words.

The package reads folders that trials left behind and needs no live sweep. It imports
neither torch nor ray nor trl. ``analysis.figures`` and ``analysis.report`` are imported where they
are needed, since they take altair with them.
"""

from analysis.compare import (
    Challenge,
    RunComparison,
    best_adapters,
    challenge,
    compare_runs,
    comparison_lines,
)
from analysis.sweep import SweepVerdicts, sweep_verdicts
from analysis.wording import HOW_TO_READ, summary_lines, verdict_rows
from analysis.writing import plain, verdicts_markdown, write_verdicts

__all__ = [
    "HOW_TO_READ",
    "Challenge",
    "RunComparison",
    "SweepVerdicts",
    "best_adapters",
    "challenge",
    "compare_runs",
    "comparison_lines",
    "plain",
    "summary_lines",
    "sweep_verdicts",
    "verdict_rows",
    "verdicts_markdown",
    "write_verdicts",
]
