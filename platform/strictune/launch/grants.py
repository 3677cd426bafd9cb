"""What each cell's trials are granted on this cluster."""

from collections.abc import Sequence

from strictune.config import ResourcesSpec, TrialSpec
from strictune.packing import Grant, Machine, grant_trial

__all__ = ["grant_cells"]


def grant_cells(
    spec: ResourcesSpec, trials: Sequence[TrialSpec], machines: Sequence[Machine]
) -> dict[str, Grant]:
    """Return the grant of every cell of ``trials``, by the cell's name.

    Raises:
        BudgetError: A trial does not fit on any machine of the cluster.
    """
    return {
        cell: grant_trial(spec, machines, peak=None, num_wanted=len(trials), cell=cell)
        for cell in dict.fromkeys(trial.cell for trial in trials)
    }
