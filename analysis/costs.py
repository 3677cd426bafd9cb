"""Planned and actual costs of the cells of a sweep: memory, seconds a step and hours."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.records import RunRecord, RunState, SweepRecords
from analysis.tables import Row
from strictune.records import CellPlan, PlannedCell, read_costs

__all__ = ["CellCosts", "compare_costs", "cost_rows"]

GUESS = "guess"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCosts:
    """One cell; None is not known, or not measured."""

    cell: str
    num_trials: int
    num_finished: int
    planned_peak_gib: float | None
    planned_peak_source: str | None
    """See ``CellPlan``."""
    peak_gib: float | None
    """The largest of its trials: on the GPU where there is one, else of the process."""
    planned_step_s: float | None
    planned_step_source: str | None
    step_s: float | None
    """Median of its trials' medians; of their means where stages are of different methods."""
    planned_hours: float | None
    """For each trial."""
    hours: float | None
    """Median of its finished trials."""
    hours_range: tuple[float, float] | None
    """Of the fastest and the slowest of them."""

    def row(self) -> dict[str, Any]:
        """Return the cell as plain data, for tables."""
        return {name: value for name, value in asdict(self).items() if name != "hours_range"}


def compare_costs(sweep: SweepRecords) -> list[CellCosts]:
    """Compare plan and actual of every cell of a sweep."""
    planned = read_costs(sweep.folder).cells
    runs: dict[str, list[RunRecord]] = {cell.name: [] for cell in sweep.plan.cells}
    for trial in sweep.plan.trials:
        runs[trial.cell].append(sweep.trial(trial.trial_id))
    return [
        _cell(cell, runs[cell.name], planned.get(cell.name, CellPlan()))
        for cell in sweep.plan.cells
    ]


def cost_rows(cells: Sequence[CellCosts]) -> list[Row]:
    """Return planned and actual values of each cell as rows, for a figure.

    Unknown values have no row, nor have planned times that were a guess. Actual hours have the
    spread of the finished trials.
    """
    rows = []
    for cell in cells:
        is_guess = cell.planned_step_source == GUESS
        planned_times = (None, None) if is_guess else (cell.planned_step_s, cell.planned_hours)
        low, high = cell.hours_range or (None, None)
        values = (
            ("peak memory, GiB", "planned", cell.planned_peak_gib, None, None),
            ("peak memory, GiB", "actual", cell.peak_gib, None, None),
            ("seconds a step", "planned", planned_times[0], None, None),
            ("seconds a step", "actual", cell.step_s, None, None),
            ("hours a trial", "planned", planned_times[1], None, None),
            ("hours a trial", "actual", cell.hours, low, high),
        )
        names = ("measure", "source", "value", "low", "high")
        rows += [
            {"cell": cell.cell, **dict(zip(names, value, strict=True))}
            for value in values
            if value[2] is not None
        ]
    return rows


def _cell(cell: PlannedCell, runs: Sequence[RunRecord], planned: CellPlan) -> CellCosts:
    finished = [run for run in runs if run.state is RunState.FINISHED]
    seconds = [run.seconds for run in finished if run.seconds is not None]
    trained = [run for run in runs if _values(run, "time/step_s")]
    typical = statistics.fmean if cell.is_mixed else statistics.median
    steps = [typical(_values(run, "time/step_s")) for run in trained]
    peaks = [peak for run in trained if (peak := _peak_gib(run)) is not None]
    return CellCosts(
        cell=cell.name,
        num_trials=len(runs),
        num_finished=len(finished),
        planned_peak_gib=planned.memory.peak_gib,
        planned_peak_source=planned.memory.source,
        peak_gib=max(peaks, default=None),
        planned_step_s=planned.step.step_s,
        planned_step_source=planned.step.source,
        step_s=statistics.median(steps) if steps else None,
        planned_hours=planned.hours,
        hours=statistics.median(seconds) / 3600 if seconds else None,
        hours_range=(min(seconds) / 3600, max(seconds) / 3600) if seconds else None,
    )


def _values(run: RunRecord, key: str) -> list[float]:
    return [metrics[key] for _, metrics in run.metrics if key in metrics]


def _peak_gib(run: RunRecord) -> float | None:
    found = (max(_values(run, key), default=None) for key in ("gpu/peak_gib", "memory/peak_gib"))
    return next((peak for peak in found if peak), None)
