"""How many trials fit: from measured peaks and known machines to what each trial is granted.

Pure: machines, peaks and the sweep's ``resources`` go in, numbers for the scheduler come out.
Machines are arguments, so that tests and plans can describe any GPU and cluster. Measuring peaks
and starting trials is done elsewhere.

Cells are packed one by one, as if every trial that runs beside one were of its kind; the
scheduler then fills machines with whatever fits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from strictune.errors import BudgetError
from trainables.devices import GPU_SHARES, PEAK_MARGIN, fitting_shares

if TYPE_CHECKING:
    from strictune.config import ResourcesSpec
    from strictune.records import Grant

__all__ = [
    "HOW_TO_TAKE_LESS",
    "Gpu",
    "Machine",
    "Peak",
    "before_peak",
    "grant_trial",
    "has_room",
    "needs_peak",
    "next_larger",
    "smallest_share",
    "without_measuring",
]

HOW_TO_TAKE_LESS = (
    "Lower trial.grpo.per_device_train_batch_size (and raise gradient_accumulation_steps), "
    "max_completion_length, max_think_length or evaluation.batch_size, or set "
    "trial.grpo.gradient_checkpointing=true."
)

MEMORY_STEP = 1.5
"""Factor on the main memory of a trial that ran out of it and is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One kind of GPU."""

    name: str
    """As the driver calls it, e.g. ``NVIDIA H100 80GB HBM3``."""
    memory_gib: float
    has_bfloat16: bool = True
    """It computes bfloat16 in hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of a cluster: what its trials can be granted in total."""

    cpus: float
    memory_gib: float
    """Main memory that is left for trials."""
    gpus: int = 0
    gpu: Gpu | None = None
    """The smallest of its GPUs; None where there is none, or none that is known."""
    served_gpu: float = 0.0
    """What vLLM servers take of one of its GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most memory that one trial takes at its worst lengths."""

    gpu_gib: float | None = None
    """On the GPU, context included; None on a CPU."""
    gpu_failed_gib: float | None = None
    """A share of a GPU in which it is known to have run out of memory."""
    memory_gib: float | None = None
    """Main memory of the process."""


def needs_peak(
    spec: "ResourcesSpec", machines: Sequence[Machine], *, num_wanted: int, num_workers: int = 1
) -> bool:
    """Return whether ``grant_trial`` needs the peak of a trial.

    Without a GPU the peak decides how many trials share the main memory, so it is not needed
    for a single one. Of several workers, which a probe knows nothing of, each has a whole GPU.
    """
    if num_workers > 1:
        return False
    if _gpu_machines(machines):
        return spec.gpus_per_trial == "auto"
    is_auto = "auto" in (spec.gpus_per_trial, spec.cpus_per_trial)
    return is_auto and spec.memory_gib_per_trial is None and _wanted(spec, num_wanted) > 1


def grant_trial(
    spec: "ResourcesSpec",
    machines: Sequence[Machine],
    *,
    peak: Peak | None,
    num_wanted: int,
    cell: str,
    num_workers: int = 1,
) -> "Grant":
    """Work out what each trial of one cell is granted.

    Args:
        spec: What the sweep file says.
        machines: The cluster; trials use its GPUs if it has any.
        peak: What a trial takes; may be None unless ``needs_peak``.
        num_wanted: Trials that are left to run, of all cells.
        cell: Named in errors.
        num_workers: Processes of one trial, which may be on different machines.

    Raises:
        BudgetError: One trial is more than the cluster can be asked for.
    """
    from strictune.records import Grant  # pydantic, which help screens do without.

    usable = _gpu_machines(machines) or list(machines)
    gpus = 0.0
    if usable[0].gpus and num_workers > 1:
        gpus = _whole_gpu(spec, num_workers=num_workers, cell=cell)
    elif usable[0].gpus:
        gpus = _gpu_share(spec, usable, peak=peak, cell=cell)
    memory_gib = _memory(spec, peak)
    least = Grant(
        cpus=1.0 if spec.cpus_per_trial == "auto" else spec.cpus_per_trial,
        gpus=gpus,
        memory_gib=memory_gib,
        at_once=1,
        num_workers=num_workers,
    )
    places = [_places(machine, least) for machine in usable]
    if not any(places):
        raise BudgetError(_too_large(least, usable, spec=spec, cell=cell))
    if sum(places) < num_workers:
        raise BudgetError(_too_many_workers(least, sum(places), cell=cell))
    wanted = _wanted(spec, num_wanted)
    if spec.cpus_per_trial == "auto":
        least = replace(least, cpus=_cores_each(usable, places, wanted=wanted * num_workers))
        places = [_places(machine, least) for machine in usable]
    return replace(least, at_once=min(sum(places) // num_workers, wanted))


def without_measuring(spec: "ResourcesSpec") -> "ResourcesSpec":
    """Return ``spec`` for the probe, whose peak is not known yet: a whole GPU, or a core."""
    return spec.model_copy(
        update={
            name: 1.0
            for name in ("gpus_per_trial", "cpus_per_trial")
            if getattr(spec, name) == "auto"
        }
    )


def before_peak(spec: "ResourcesSpec", *, num_workers: int = 1) -> "Grant":
    """Return what a process of a trial needs, as far as it is known before its peak is measured."""
    from strictune.records import Grant

    plain = without_measuring(spec)
    return Grant(
        cpus=float(plain.cpus_per_trial),
        gpus=1.0 if num_workers > 1 else float(plain.gpus_per_trial),
        memory_gib=spec.memory_gib_per_trial,
        at_once=1,
        num_workers=num_workers,
    )


def has_room(machines: Sequence[Machine], process: "Grant") -> bool:
    """Return whether a trial of such processes fits; without any GPU it runs on the CPU."""
    usable = _gpu_machines(machines)
    if not usable:
        usable, process = list(machines), replace(process, gpus=0.0)
    return sum(_places(machine, process) for machine in usable) >= process.num_workers


def smallest_share(gpu_gib: float, gpu: Gpu, *, failed_gib: float | None = None) -> float | None:
    """Return the smallest share of a GPU that holds ``gpu_gib`` with a margin, if one does.

    One of ``failed_gib`` or less is known to be too small.
    """
    # The driver counts up to 5% more of a GPU than torch does; shares are further apart.
    too_small_gib = 1.05 * (failed_gib or 0.0)
    shares = fitting_shares(gpu_gib, gpu.memory_gib)
    return next((share for share in shares if share * gpu.memory_gib > too_small_gib), None)


def next_larger(grant: "Grant", machines: Sequence[Machine]) -> "Grant | None":
    """Return the grant for the second try of a trial that ran out of memory.

    On a GPU it is the next larger share, elsewhere half as much main memory again. None says
    that the trial had all that a machine has.
    """
    if grant.gpus:
        larger = [share for share in GPU_SHARES if share > grant.gpus]
        if not larger:
            return None
        raised = replace(grant, gpus=min(larger))
        usable = _gpu_machines(machines)
    else:
        usable = list(machines)
        most = max(machine.memory_gib for machine in usable)
        had = grant.memory_gib or most / max(_places(machine, grant) for machine in usable)
        if had >= most:
            return None
        raised = replace(grant, memory_gib=min(most, had * MEMORY_STEP))
    fitting = sum(_places(machine, raised) for machine in usable) // grant.num_workers
    return replace(raised, at_once=min(fitting, grant.at_once)) if fitting else None


def _gpu_machines(machines: Sequence[Machine]) -> list[Machine]:
    return [machine for machine in machines if machine.gpus > 0]


def _wanted(spec: "ResourcesSpec", num_wanted: int) -> int:
    return max(1, min(num_wanted, spec.max_concurrent_trials or num_wanted))


def _gpu_share(
    spec: "ResourcesSpec", machines: Sequence[Machine], *, peak: Peak | None, cell: str
) -> float:
    if spec.gpus_per_trial != "auto":
        return spec.gpus_per_trial
    gpus = [machine.gpu for machine in machines if machine.gpu is not None]
    if peak is None or peak.gpu_gib is None or len(gpus) < len(machines):
        raise BudgetError(
            f"resources.gpus_per_trial = auto, but the memory of {cell} or of a GPU of the "
            "cluster could not be measured. Give a share, e.g. "
            "--set resources.gpus_per_trial=0.5."
        )
    # A share is the same number on every machine, so the smallest GPU decides.
    gpu = min(gpus, key=lambda gpu: gpu.memory_gib)
    share = smallest_share(peak.gpu_gib, gpu, failed_gib=peak.gpu_failed_gib)
    if share is None:
        failed = peak.gpu_failed_gib
        also = f", ran out of memory in {failed:.1f}" if failed is not None else ""
        raise BudgetError(
            f"{cell} takes {peak.gpu_gib:.1f} GiB at its worst lengths{also}, and {gpu.name} has "
            f"{gpu.memory_gib:.1f}. {HOW_TO_TAKE_LESS}"
        )
    return share


def _whole_gpu(spec: "ResourcesSpec", *, num_workers: int, cell: str) -> float:
    if spec.gpus_per_trial not in ("auto", 1):
        raise BudgetError(
            f"resources.gpus_per_trial = {spec.gpus_per_trial:g}, but each of the {num_workers} "
            f"workers of {cell} takes a whole GPU. Set it to 1 or auto."
        )
    return 1.0


def _memory(spec: "ResourcesSpec", peak: Peak | None) -> float | None:
    if spec.memory_gib_per_trial is not None:
        return spec.memory_gib_per_trial
    if peak is None or peak.memory_gib is None:
        return None
    return peak.memory_gib * PEAK_MARGIN


def _places(machine: Machine, grant: "Grant") -> int:
    """Count the trials that one machine holds at the same time."""
    places = _times(machine.cpus, grant.cpus)
    if grant.gpus:
        places = min(places, _gpu_places(machine, grant.gpus))
    if grant.memory_gib is not None:
        places = min(places, _times(machine.memory_gib, grant.memory_gib))
    return places


def _gpu_places(machine: Machine, share: float) -> int:
    if not machine.served_gpu:
        return machine.gpus * _times(1.0, share)
    beside = _times(1.0 - machine.served_gpu, share)
    return (machine.gpus - 1) * _times(1.0, share) + beside


def _times(whole: float, part: float) -> int:
    """Count how often ``part`` goes into ``whole``; 0.3 holds 0.1 three times."""
    return math.floor(whole / part + 1e-9)


def _cores_each(machines: Sequence[Machine], places: Sequence[int], *, wanted: int) -> float:
    """Share the cores out: whole ones, the same number for every trial."""
    hosts = [(machine, count) for machine, count in zip(machines, places, strict=True) if count]
    evenly = math.ceil(wanted / len(hosts))
    return float(min(machine.cpus // min(count, evenly) for machine, count in hosts))


def _too_many_workers(grant: "Grant", places: int, *, cell: str) -> str:
    each = f"{grant.cpus:g} CPU" + (" and a GPU" if grant.gpus else "")
    if grant.memory_gib is not None:
        each += f", {grant.memory_gib:.1f} GiB"
    return (
        f"{cell} has {grant.num_workers} workers with {each} each, and the cluster holds {places} "
        "of them. Lower trial.distributed.num_workers, or run it on a larger cluster."
    )


def _too_large(
    least: "Grant", machines: Sequence[Machine], *, spec: "ResourcesSpec", cell: str
) -> str:
    most_cpus = max(machine.cpus for machine in machines)
    nowhere = "no machine of the cluster" + (" with a GPU" if least.gpus else "")
    if not most_cpus:
        return (
            f"{cell} needs {least.cpus:g} CPU, and {nowhere} has cores for trials. Start machines "
            "that have."
        )
    if least.cpus > most_cpus:
        return (
            f"resources.cpus_per_trial = {least.cpus:g}, but {nowhere} has more than "
            f"{most_cpus:g} cores. Lower it with --set resources.cpus_per_trial={most_cpus:g}."
        )
    if least.gpus and not any(_gpu_places(machine, least.gpus) for machine in machines):
        left = max(1.0 - machine.served_gpu for machine in machines)
        return (
            f"{cell} takes {least.gpus:g} of a GPU, and its vLLM server leaves {left:g}. Lower "
            "rollouts.vllm.gpu_memory_utilization or resources.gpus_per_trial."
        )
    most_gib = max(machine.memory_gib for machine in machines if machine.cpus >= least.cpus)
    lacking = (
        f"{nowhere} {'and' if least.gpus else 'with'} {least.cpus:g} cores has more than "
        f"{most_gib:.1f} GiB of main memory left for trials"
    )
    if spec.memory_gib_per_trial is not None:
        return f"resources.memory_gib_per_trial = {spec.memory_gib_per_trial:g}, but {lacking}."
    return (
        f"{cell} takes {least.memory_gib:.1f} GiB at its worst lengths, margin included, and "
        f"{lacking}. {HOW_TO_TAKE_LESS}"
    )
