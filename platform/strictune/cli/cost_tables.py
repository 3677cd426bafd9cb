"""Tables of what a sweep costs: as planned, and afterwards beside what it took."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from strictune.records import CellPlan

if TYPE_CHECKING:
    from analysis.costs import CellCosts
    from strictune.costs import SweepCosts

__all__ = ["actual_cost_notes", "cost_notes", "cost_table", "planned_and_actual_table"]

UNKNOWN = "unknown"
MARKS = {"probe, at worst lengths": "*", "guess": " guess"}
"""Suffixes of times that were not measured on whole trials."""
NOTES = {
    "probe, at worst lengths": "Times marked * are the probe's, at worst lengths: an upper bound.",
    "guess": "Times marked guess are a formula's, with completions as long as they may be; nothing "
    "was timed.",
}


def cost_table(costs: "SweepCosts") -> Table:
    """Return one row a cell: memory, share, trials at once, and hours."""
    on_gpu = any(machine.gpus for machine in costs.machines)
    table = Table(title=f"expected on {costs.device}")
    table.add_column("cell")
    table.add_column("dtype")
    share = "GPU" if on_gpu else "CPU"
    for heading in (
        "memory",
        share,
        "at once",
        "s a step",
        "evaluations",
        "hours a trial",
        "trials",
    ):
        table.add_column(heading, justify="right")
    for name, cell in costs.cells.items():
        table.add_row(name, *_cells_of(cell, on_gpu=on_gpu))
    return table


def cost_notes(costs: "SweepCosts") -> list[str]:
    """Return the sum, and remarks on single cells."""
    notes = [
        cell.problem if name in cell.problem else f"{name}: {cell.problem}"
        for name, cell in costs.cells.items()
        if cell.problem
    ]
    notes += _time_notes({cell.step.source for cell in costs.cells.values()})
    if any(cell.memory.source == "estimated" for cell in costs.cells.values()):
        notes.append("Estimated memory is a formula's first guess; nothing was measured.")
    if costs.trial_hours is None:
        unknown = sum(cell.hours is None for cell in costs.cells.values())
        notes.append(
            f"Hours of {unknown} of {len(costs.cells)} cells are unknown: no trial of their shape "
            "has run on this device yet, and their model or their evaluation's prompts are not "
            "known here."
        )
        return notes
    total = f"In all {_hours(costs.trial_hours)} of trials"
    if costs.gpu_hours:
        total += f", {_hours(costs.gpu_hours)} of GPUs"
    if costs.wall_hours is not None:
        total += f"; about {_hours(costs.wall_hours)} until the last one ends"
    if costs.hours_source == "guess":
        total += " (a guess)"
    return [*notes, f"{total}."]


def planned_and_actual_table(cells: Sequence["CellCosts"]) -> Table:
    """Return one row a cell: planned and measured memory, seconds a step and hours."""
    table = Table(title="planned and actual costs")
    table.add_column("cell")
    planned = ("GiB planned", "s a step planned", "hours a trial planned")
    for heading in ("trials", *(one for name in planned for one in (name, "actual"))):
        table.add_column(heading, justify="right")
    for cell in cells:
        table.add_row(*_row_of(cell))
    return table


def actual_cost_notes(cells: Sequence["CellCosts"]) -> list[str]:
    """Return what the marks in ``planned_and_actual_table`` mean, where there are any."""
    notes = []
    if any(cell.planned_peak_source == "estimated" for cell in cells):
        notes.append("Memory marked est. is a formula's first guess.")
    return notes + _time_notes({cell.planned_step_source for cell in cells})


def _time_notes(sources: Collection[str | None]) -> list[str]:
    return [note for source, note in NOTES.items() if source in sources]


def _row_of(cell: "CellCosts") -> Iterable[str]:
    yield cell.cell
    yield f"{cell.num_finished} of {cell.num_trials}"
    yield _number(cell.planned_peak_gib) + " est." * (cell.planned_peak_source == "estimated")
    yield _number(cell.peak_gib)
    yield _time(cell.planned_step_s, cell.planned_step_source)
    yield _number(cell.step_s)
    yield _time(cell.planned_hours, cell.planned_step_source, digits=2)
    yield _number(cell.hours, digits=2)


def _cells_of(cell: CellPlan, *, on_gpu: bool) -> Iterable[str]:
    yield cell.dtype
    memory = cell.memory
    yield UNKNOWN if memory.peak_gib is None else f"{memory.peak_gib:.1f} GiB {memory.source}"
    if cell.grant is None:
        yield from ("-", "-") if cell.problem else ("after a probe", "-")
    else:
        share = f"{cell.grant.gpus if on_gpu else cell.grant.cpus:g}"
        yield f"{cell.grant.num_workers} x {share}" if cell.grant.num_workers > 1 else share
        yield str(cell.grant.at_once)
    source, evaluation_s = cell.step.source, cell.step.evaluation_s
    yield _time(cell.step.step_s, source)
    yield _time(None if evaluation_s is None else evaluation_s / 60, source, unit=" min")
    yield _time(cell.hours, source, digits=2)
    yield str(cell.num_trials)


def _time(value: float | None, source: str | None, *, digits: int = 1, unit: str = "") -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.{digits}f}{unit}{MARKS.get(source or '', '')}"


def _number(value: float | None, *, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 1 else f"{hours:.1f} hours"
