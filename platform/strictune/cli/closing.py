"""The end of a sweep: verdicts, costs, what the models are, and the alias ``best``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import SweepVerdicts, best_adapters, challenge, plain, summary_lines, verdict_rows
from analysis.costs import CellCosts
from strictune.cli.cost_tables import actual_cost_notes, planned_and_actual_table
from strictune.cli.terminal import table_console, text_table
from strictune.config import SweepSpec, TrialSpec
from strictune.errors import StorageError
from strictune.tracking import promote
from strictune.tracking.registry import Candidate
from trainables.builtin import BUILTIN_MODELS

if TYPE_CHECKING:
    from strictune.launch.sweep import SweepEnd

__all__ = ["closing_document", "print_closing", "print_costs", "print_verdicts", "promote_best"]


def closing_document(
    verdicts: SweepVerdicts, costs: Sequence[CellCosts], end: "SweepEnd", *, seconds: float
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
    """Print how long the sweep took, and the notes on built-in models."""
    took = f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    print(f"\n{sweep.name} took {took}.")
    for model in dict.fromkeys(trial.model for trial in trials):
        if model in BUILTIN_MODELS:
            print(f"Note: {BUILTIN_MODELS[model].note}")


def promote_best(
    sweep_dir: Path, tracking_uri: str, verdicts: SweepVerdicts, *, tell: Callable[[str], None]
) -> None:
    """Register the adapters that are better than their baselines, and report what was done.

    Where the store does not answer, or lacks what must be compared, one line says so.
    """
    candidates = [
        Candidate(model, trial.plan.trial_id, trial.verdict.text)
        for model, trial in best_adapters(verdicts, sweep_dir).items()
    ]
    try:
        promotions = promote(
            sweep_dir, tracking_uri, candidates, task=verdicts.task, judge=challenge
        )
    except StorageError as error:
        tell(f"registered models were not changed: {error}")
        return
    for done in promotions:
        state = "holds" if done.is_best else "does not get"
        tell(
            f"registered model {done.name}: version {done.version} ({done.trial_id}) {state} the "
            f"alias best: {done.text}"
        )
