"""What each cell's trials are granted on this cluster."""

from collections.abc import Sequence

from strictune.config import ResourcesSpec, TrialSpec
from strictune.cost_book import CostBook
from strictune.costs import measured_peak
from strictune.packing import Grant, Machine, grant_trial, needs_peak

__all__ = ["grant_cells"]


def grant_cells(
    spec: ResourcesSpec,
    trials: Sequence[TrialSpec],
    machines: Sequence[Machine],
    *,
    book: CostBook,
) -> dict[str, Grant]:
    """Return the grant of every cell of ``trials``, by the cell's name.

    Args:
        spec: The sweep's.
        trials: Those that are left to run.
        machines: The cluster.
        book: Where measured peaks are; read only where something is to be sized by them.

    Raises:
        BudgetError: A trial does not fit on any machine of the cluster.
    """
    first_of_cell: dict[str, TrialSpec] = {}
    for trial in trials:
        first_of_cell.setdefault(trial.cell, trial)
    is_sized = needs_peak(spec, machines, num_wanted=len(trials))
    return {
        cell: grant_trial(
            spec,
            machines,
            peak=measured_peak(trial, machines, book) if is_sized else None,
            num_wanted=len(trials),
            cell=cell,
        )
        for cell, trial in first_of_cell.items()
    }
