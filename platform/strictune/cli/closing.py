"""The closing lines of a sweep: the verdict table, what it means, and what the models are."""

from collections.abc import Sequence
from typing import Any

from analysis import SweepVerdicts, plain, summary_lines, verdict_rows
from strictune.actual import CellCosts
from strictune.cli.cost_tables import actual_cost_notes, planned_and_actual_table
from strictune.cli.tables import table_console, text_table
from strictune.config import SweepSpec, TrialSpec
from strictune.launch.sweep import SweepEnd
from trainables.builtin import BUILTIN_MODELS

__all__ = ["closing_document", "print_closing", "print_costs", "print_verdicts"]


def closing_document(
    verdicts: SweepVerdicts, costs: Sequence[CellCosts], end: SweepEnd, *, seconds: float
) -> dict[str, Any]:
    """Return what the closing tables say as plain data: what ``run --json`` prints."""
    return {
        "sweep": verdicts.sweep,
        "status": end.status,
        "num_by_state": dict(end.num_by_state),
        "warnings": list(end.warnings),
        "seconds": seconds,
        "verdicts": plain(verdicts),
        "costs": [cell.row() for cell in costs],
    }


def print_verdicts(verdicts: SweepVerdicts) -> None:
    """Print the sweep's table and its sentences."""
    console = table_console()
    console.print(text_table(verdicts.sweep, verdict_rows(verdicts)))
    for sentence in summary_lines(verdicts):
        console.print(f"- {sentence}", markup=False, soft_wrap=True)


def print_costs(cells: Sequence[CellCosts]) -> None:
    """Print what the cells took beside what was planned; cells that never trained are left out."""
    trained = [cell for cell in cells if cell.step_s is not None]
    if not trained:
        return
    console = table_console()
    console.print(planned_and_actual_table(trained))
    for note in actual_cost_notes(trained):
        console.print(note, markup=False, soft_wrap=True)


def print_closing(sweep: SweepSpec, trials: Sequence[TrialSpec], *, seconds: float) -> None:
    """Print how long the sweep took, and what a reader must know about committed models."""
    took = f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    print(f"\n{sweep.name} took {took}.")
    for model in dict.fromkeys(trial.model for trial in trials):
        if model in BUILTIN_MODELS:
            print(f"Note: {BUILTIN_MODELS[model].note}")
