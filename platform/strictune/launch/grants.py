"""What each cell's trials are granted on this cluster, and their share of the task's budgets.

Peaks that the cost cache does not know yet are measured through Ray beforehand.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import ray

from strictune.config import ResourcesSpec, TrialSpec
from strictune.cost_cache import CostCache
from strictune.costs import device_of, measured_peak, trials_to_probe
from strictune.errors import BudgetError, StrictuneError
from strictune.launch.folder import SweepFolder
from strictune.launch.trials import last_line
from strictune.packing import HOW_TO_TAKE_LESS, Machine, grant_trial, needs_peak, without_measuring
from strictune.records import Grant
from strictune.served import beside_servers
from trainables.memory.measured import Probe
from trainables.ray_trainable import measure_probe_of

__all__ = ["grant_cells", "measure_peaks", "num_at_once", "with_share"]

logger = logging.getLogger(__name__)


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
    machines = beside_servers(machines, trials)
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


def measure_peaks(
    spec: ResourcesSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    machines: Sequence[Machine],
    cache: CostCache,
    say: Callable[[str], None],
) -> None:
    """Probe each shape of ``trials`` that must be measured and is not in ``cache``, into it.

    Each probe has a whole GPU. Without GPUs they run one after the other, because how many
    fit into the main memory is what they are to find out.

    Raises:
        BudgetError: A probe needed more memory than there is, or could not run. The peaks of
            the others are in the cache.
    """
    unknown = trials_to_probe(spec, trials, machines, cache)
    has_gpus = any(machine.gpus for machine in machines)
    batches = [unknown] if has_gpus and unknown else [[trial] for trial in unknown]
    failures = []
    for batch in batches:
        for trial in batch:
            say(f"measuring the memory of {trial.cell} at its worst lengths")
        for trial, probe in _probe(spec, batch, folder, machines):
            if isinstance(probe, str):
                failures.append(probe)
                continue
            # Any GPU or processor of the cluster may have run it; the sweep is sized for one kind.
            cache.add_probe(trial, replace(probe, device=device_of(machines)))
            peak_gib = probe.memory_gib if probe.gpu_gib is None else probe.gpu_gib
            say(f"{trial.cell} takes {peak_gib:.1f} GiB; measured in {probe.seconds:.0f} s")
            if probe.gpu_failed_gib is not None:
                say(
                    f"{trial.cell} ran out of memory in {probe.gpu_failed_gib:.1f} GiB of the "
                    "GPU: it is granted the next larger share"
                )
    if failures:
        raise BudgetError("\n".join(failures))


def _probe(
    spec: ResourcesSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    machines: Sequence[Machine],
) -> Iterator[tuple[TrialSpec, Probe | str]]:
    """Probe all ``trials`` at the same time; yields what was measured, or why it was not."""
    pending = []
    for trial in trials:
        grant = _whole_gpu(spec, trial, machines)
        # In a process that ends with the task, as for baselines.
        measure = ray.remote(max_calls=1)(measure_probe_of).options(
            num_cpus=grant.cpus, num_gpus=grant.gpus, max_retries=0
        )
        pending.append((trial, measure.remote(folder.trial(trial.trial_id))))
    for trial, reference in pending:
        try:
            yield trial, cast(Probe, ray.get(reference))
        except ray.exceptions.RayError as error:
            logger.warning("probe of %s failed", trial.cell, exc_info=error)
            yield trial, _reason(trial, error)


def _whole_gpu(spec: ResourcesSpec, trial: TrialSpec, machines: Sequence[Machine]) -> Grant:
    return grant_trial(without_measuring(spec), machines, peak=None, num_wanted=1, cell=trial.cell)


def _reason(trial: TrialSpec, error: ray.exceptions.RayError) -> str:
    cause = getattr(error, "cause", None)
    if isinstance(cause, StrictuneError):
        return str(cause)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return (
            f"{trial.cell} needs more memory at its worst lengths than its machine had left. "
            f"{HOW_TO_TAKE_LESS}"
        )
    return (
        f"the memory of {trial.cell} could not be measured: {last_line(cause or error)}. Give "
        "numbers instead of auto under resources."
    )
