"""Analyses the records of sweeps: rates, differences with intervals, verdicts.

The package reads folders that trials left behind and needs no live sweep. It imports
neither torch nor ray nor trl. ``analysis.figures`` and ``analysis.report`` are imported where they
are needed, since they take altair with them.
"""

from analysis.compare import best_adapters, challenge, compare_runs, comparison_lines
from analysis.sweep import SweepVerdicts, sweep_verdicts
from analysis.tables import plain
from analysis.wording import summary_lines, verdict_rows, write_verdicts

__all__ = [
    "SweepVerdicts",
    "best_adapters",
    "challenge",
    "compare_runs",
    "comparison_lines",
    "plain",
    "summary_lines",
    "sweep_verdicts",
    "verdict_rows",
    "write_verdicts",
]
