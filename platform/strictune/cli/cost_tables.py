"""Tables of what a sweep costs: as planned, and afterwards beside what it took."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from strictune.actual import CellCosts
from strictune.cost_plan import CellPlan, SweepCosts

__all__ = ["actual_cost_notes", "cost_notes", "cost_table", "planned_and_actual_table"]

UNKNOWN = "unknown"
PROBED = "probe, at worst lengths"


def cost_table(costs: SweepCosts) -> Table:
    """Return one row a cell: memory, share, trials at once, and hours."""
    on_card = any(machine.gpus for machine in costs.machines)
    table = Table(title=f"expected on {costs.device}")
    table.add_column("cell")
    table.add_column("dtype")
    for heading in ("memory", "GPU" if on_card else "CPU", "at once", "s a step", "evaluations"):
        table.add_column(heading, justify="right")
    for heading in ("hours a trial", "trials"):
        table.add_column(heading, justify="right")
    for name, cell in costs.cells.items():
        table.add_row(name, *_cells_of(cell, on_card=on_card))
    return table


def cost_notes(costs: SweepCosts) -> list[str]:
    """Return the sum, and what a reader must know of single cells."""
    notes = [f"{name}: {cell.problem}" for name, cell in costs.cells.items() if cell.problem]
    if any(cell.step.source == PROBED for cell in costs.cells.values()):
        notes.append("Times marked * are the probe's, at worst lengths: an upper bound.")
    if any(cell.memory.source == "estimated" for cell in costs.cells.values()):
        notes.append("Estimated memory is a formula's first guess; nothing was measured.")
    if costs.trial_hours is None:
        unknown = sum(cell.hours is None for cell in costs.cells.values())
        notes.append(
            f"Hours of {unknown} of {len(costs.cells)} cells are unknown: no trial of their shape "
            "has run on this device yet."
        )
        return notes
    total = f"In all {_hours(costs.trial_hours)} of trials"
    if costs.card_hours:
        total += f", {_hours(costs.card_hours)} of cards"
    if costs.wall_hours is not None:
        total += f"; about {_hours(costs.wall_hours)} until the last one ends"
    return [*notes, f"{total}."]


def planned_and_actual_table(cells: Sequence[CellCosts]) -> Table:
    """Return one row a cell: planned and measured memory, seconds a step and hours."""
    table = Table(title="planned and actual costs")
    table.add_column("cell")
    for heading in ("trials", "GiB planned", "actual", "s a step planned", "actual"):
        table.add_column(heading, justify="right")
    for heading in ("hours a trial planned", "actual"):
        table.add_column(heading, justify="right")
    for cell in cells:
        table.add_row(*_row_of(cell))
    return table


def actual_cost_notes(cells: Sequence[CellCosts]) -> list[str]:
    """Return what the marks in ``planned_and_actual_table`` mean, where there are any."""
    notes = []
    if any(cell.planned_peak_source == "estimated" for cell in cells):
        notes.append("Memory marked est. is a formula's first guess.")
    if any(cell.planned_step_source == PROBED for cell in cells):
        notes.append("Times marked * are the probe's, at worst lengths: an upper bound.")
    return notes


def _row_of(cell: CellCosts) -> Iterable[str]:
    yield cell.cell
    yield f"{cell.num_finished} of {cell.num_trials}"
    yield _number(cell.planned_peak_gib) + _mark(cell.planned_peak_source, "estimated", " est.")
    yield _number(cell.peak_gib)
    yield _number(cell.planned_step_s) + _mark(cell.planned_step_source, PROBED, "*")
    yield _number(cell.step_s)
    yield _number(cell.planned_hours, digits=2)
    yield _number(cell.hours, digits=2)


def _cells_of(cell: CellPlan, *, on_card: bool) -> Iterable[str]:
    yield cell.dtype
    memory = cell.memory
    yield UNKNOWN if memory.peak_gib is None else f"{memory.peak_gib:.1f} GiB {memory.source}"
    if cell.grant is None:
        yield from ("-", "-") if cell.problem else ("after a probe", "-")
    else:
        share = f"{cell.grant.gpus if on_card else cell.grant.cpus:g}"
        yield f"{cell.grant.num_workers} x {share}" if cell.grant.num_workers > 1 else share
        yield str(cell.grant.at_once)
    mark = _mark(cell.step.source, PROBED, "*")
    yield _number(cell.step.step_s) + mark
    evaluation_s = cell.step.evaluation_s
    yield UNKNOWN if evaluation_s is None else f"{evaluation_s / 60:.1f} min{mark}"
    yield _number(cell.hours, digits=2) + (mark if cell.hours is not None else "")
    yield str(cell.num_trials)


def _mark(source: str | None, value: str, text: str) -> str:
    return text if source == value else ""


def _number(value: float | None, *, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 1 else f"{hours:.1f} hours"
