"""Planned and actual cost of each cell, in rows for a figure."""

from collections import defaultdict
from pathlib import Path

from analysis.sweep import SweepVerdicts
from analysis.tables import Row
from strictune.actual import compare_costs

__all__ = ["cost_rows"]

_MEASURES = {
    "peak memory, GiB": ("planned_peak_gib", "peak_gib"),
    "seconds a step": ("planned_step_s", "step_s"),
    "hours a trial": ("planned_hours", "hours"),
}
_GUESSED = ("planned_step_s", "planned_hours")


def cost_rows(folder: Path, verdicts: SweepVerdicts) -> list[Row]:
    """Return planned and actual memory, time a step and hours; what is unknown has no row.

    Nor have times that were a guess: the figure holds what was measured before against what was
    measured now. Hours carry the spread of the cell's finished trials.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    for trial in verdicts.trials:
        if trial.result is not None and trial.seconds is not None:
            seconds[trial.plan.cell].append(trial.seconds)
    rows = []
    for cell in compare_costs(folder):
        values = cell.row()
        for measure, keys in _MEASURES.items():
            for source, key in zip(("planned", "actual"), keys, strict=True):
                is_guess = key in _GUESSED and values["planned_step_source"] == "guess"
                if values[key] is None or is_guess:
                    continue
                row = {"cell": cell.cell, "measure": measure, "source": source}
                hours = [found / 3600 for found in seconds[cell.cell]]
                is_spread = key == "hours" and hours
                low, high = (min(hours), max(hours)) if is_spread else (None, None)
                rows.append({**row, "value": values[key], "low": low, "high": high})
    return rows
