"""What each cell's trials are granted on this cluster, and their share of the task's budgets."""

from collections.abc import Mapping, Sequence

from strictune.config import ResourcesSpec, TrialSpec
from strictune.cost_cache import CostCache
from strictune.costs import measured_peak
from strictune.packing import Grant, Machine, grant_trial, needs_peak

__all__ = ["grant_cells", "num_at_once", "with_share"]


def grant_cells(
    spec: ResourcesSpec,
    trials: Sequence[TrialSpec],
    machines: Sequence[Machine],
    *,
    cache: CostCache,
) -> dict[str, Grant]:
    """Return the grant of every cell of ``trials``, by the cell's name.

    Args:
        spec: The sweep's.
        trials: Those that are left to run.
        machines: The cluster.
        cache: Where measured peaks are; read only where something is to be sized by them.

    Raises:
        BudgetError: A trial does not fit on any machine of the cluster.
    """
    first_of_cell: dict[str, TrialSpec] = {}
    for trial in trials:
        first_of_cell.setdefault(trial.cell, trial)
    grants = {}
    for cell, trial in first_of_cell.items():
        counts = {"num_wanted": len(trials), "num_workers": trial.distributed.num_workers}
        is_sized = needs_peak(spec, machines, **counts)
        peak = measured_peak(trial, machines, cache) if is_sized else None
        grants[cell] = grant_trial(spec, machines, peak=peak, cell=cell, **counts)
    return grants


def num_at_once(grants: Mapping[str, Grant]) -> int:
    """Return how many trials run at the same time at most."""
    return max(grant.at_once for grant in grants.values())


def with_share(trial: TrialSpec, num_trials: int) -> TrialSpec:
    """Give a trial its share of what so many trials may use together.

    Its processes divide the share among themselves. The trial's name stays: a budget changes
    no result.
    """
    return trial.model_copy(update={"task": trial.task.shared_by(num_trials)})
