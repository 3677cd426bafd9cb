"""Peaks of a sweep: what the cost cache does not know yet, measured through Ray beforehand."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import ray

from strictune.config import ResourcesSpec, TrialSpec
from strictune.cost_cache import CostCache
from strictune.costs import device_of, trials_to_probe
from strictune.errors import BudgetError, StrictuneError
from strictune.launch.folder import SweepFolder
from strictune.packing import HOW_TO_TAKE_LESS, Grant, Machine, grant_trial, without_measuring
from trainables.memory.measured import Probe
from trainables.ray_trainable import measure_probe_of

__all__ = ["measure_peaks"]

logger = logging.getLogger(__name__)


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

    Each probe has a whole card. Without cards they run one after the other, because how many
    fit into the main memory is what they are to find out.

    Raises:
        BudgetError: A probe needed more memory than there is, or could not run. The peaks of
            the others are in the cache.
    """
    unknown = trials_to_probe(spec, trials, machines, cache)
    has_cards = any(machine.gpus for machine in machines)
    batches = [unknown] if has_cards and unknown else [[trial] for trial in unknown]
    failures = []
    for batch in batches:
        for trial in batch:
            say(f"measuring the memory of {trial.cell} at its worst lengths")
        for trial, probe in _probe(spec, batch, folder, machines):
            if isinstance(probe, str):
                failures.append(probe)
                continue
            # Any card or processor of the cluster may have run it; the sweep is sized by one.
            cache.add_probe(trial, replace(probe, device=device_of(machines)))
            peak_gib = probe.memory_gib if probe.gpu_gib is None else probe.gpu_gib
            say(f"{trial.cell} takes {peak_gib:.1f} GiB; measured in {probe.seconds:.0f} s")
            if probe.gpu_failed_gib is not None:
                say(
                    f"{trial.cell} ran out of memory in {probe.gpu_failed_gib:.1f} GiB of the "
                    "card: it is granted the next larger share"
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
        grant = _whole_card(spec, trial, machines)
        # In a process that ends with it, as baselines are.
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


def _whole_card(spec: ResourcesSpec, trial: TrialSpec, machines: Sequence[Machine]) -> Grant:
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
    last_line = (str(cause or error).strip().splitlines() or [type(error).__name__])[-1]
    return (
        f"the memory of {trial.cell} could not be measured: {last_line}. Give numbers instead of "
        "auto under resources."
    )
