"""What a sweep is expected to cost on given machines, and what must be measured to pack it.

Memory is what the cost cache has measured, else the first guess of
``trainables.memory.estimate``. Hours come from earlier trials of the same shape, else from the
probe, whose completions are as long as they may be, so that its hours are an upper bound, else
from the first guess of ``cost_guess``.

Nothing is measured here; ``trials_to_probe`` names what a launcher has to measure first.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from strictune.config import ComputeDtype, ResourcesSpec, TrialSpec, auto_dtype
from strictune.cost_cache import CostCache, KnownCosts
from strictune.cost_guess import guess_step, num_evaluations
from strictune.errors import BudgetError
from strictune.packing import HOW_TO_TAKE_LESS, Machine, Peak, grant_trial, needs_peak
from strictune.records import (
    COSTS,
    CellPlan,
    Grant,
    MemoryPlan,
    StepPlan,
    StepSource,
    read_costs,
    write_json,
)
from strictune.served import beside_servers
from trainables.devices import cpu_has_bfloat16, cpu_name
from trainables.memory.architecture import Architecture, find_architecture
from trainables.memory.estimate import estimate_gib
from trainables.memory.measured import TrialCost, shape_digest
from trainables.tasks import load_task

__all__ = [
    "SweepCosts",
    "device_of",
    "expected_costs",
    "expected_dtype",
    "measured_peak",
    "trials_to_probe",
    "write_costs",
]

_Device = Literal["cuda", "cpu"]

ESTIMATE_MARGIN = 1.25
"""Room above an estimate, on top of ``PEAK_MARGIN``: it counts tensors, not fragments."""

STEP_SOURCES: tuple[StepSource, ...] = get_args(StepSource)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCosts:
    """The cells of a sweep, and their sum."""

    device: str
    machines: Sequence[Machine]
    cells: Mapping[str, CellPlan]

    @property
    def at_once(self) -> int | None:
        """Trials that run at the same time at most; None where it takes a probe to know."""
        grants = [cell.grant for cell in self.cells.values()]
        if any(grant is None for grant in grants):
            return None
        return max((grant.at_once for grant in grants if grant is not None), default=None)

    @property
    def trial_hours(self) -> float | None:
        """Hours of all trials, one after the other; None if those of a cell are not known."""
        return _total([(cell.hours, cell.num_trials) for cell in self.cells.values()])

    @property
    def gpu_hours(self) -> float | None:
        """Hours of GPUs: each trial's hours times its GPUs; 0 on machines without."""
        return _total(
            [
                (
                    cell.hours,
                    cell.num_trials * cell.grant.num_workers * cell.grant.gpus
                    if cell.grant
                    else None,
                )
                for cell in self.cells.values()
            ]
        )

    @property
    def wall_hours(self) -> float | None:
        """Hours until the last trial ends, if no place stands empty before."""
        cells = self.cells.values()
        packed = _total(
            [
                (cell.hours, cell.num_trials / cell.grant.at_once if cell.grant else None)
                for cell in cells
            ]
        )
        longest = max((cell.hours or 0.0 for cell in cells), default=0.0)
        return None if packed is None else max(packed, longest)

    @property
    def hours_source(self) -> StepSource:
        """Where the least sure of the cells' hours come from."""
        sources = [cell.step.source for cell in self.cells.values()]
        return max(sources, key=STEP_SOURCES.index, default="unknown")

    def document(self) -> dict[str, Any]:
        """Return the costs as plain data: what ``costs.json`` and ``plan --json`` hold."""
        return {
            "device": self.device,
            "machines": [asdict(machine) for machine in self.machines],
            "cells": {name: cell.model_dump() for name, cell in self.cells.items()},
            "trial_hours": self.trial_hours,
            "gpu_hours": self.gpu_hours,
            "wall_hours": self.wall_hours,
            "hours_source": self.hours_source,
        }


def trials_to_probe(
    spec: ResourcesSpec, trials: Sequence[TrialSpec], machines: Sequence[Machine], cache: CostCache
) -> list[TrialSpec]:
    """Return one trial for each shape whose peak must be measured before it can be packed."""
    if not needs_peak(spec, machines, num_wanted=len(trials)):
        return []
    if any(machine.gpus and machine.gpu is None for machine in machines):
        return []  # No share of a GPU of unknown size can be sized; ``grant_trial`` says so.
    device = device_of(machines)
    first_of_cell: dict[str, TrialSpec] = {}
    for trial in trials:
        first_of_cell.setdefault(trial.cell, trial)
    first_of_shape: dict[str, TrialSpec] = {}
    for trial in first_of_cell.values():
        if trial.distributed.num_workers > 1:
            continue
        if cache.read(trial, device=device).probe is None:
            first_of_shape.setdefault(shape_digest(trial), trial)
    return list(first_of_shape.values())


def measured_peak(trial: TrialSpec, machines: Sequence[Machine], cache: CostCache) -> Peak | None:
    """Return the largest measured peak of this shape on these machines."""
    return cache.read(trial, device=device_of(machines)).peak


def device_of(machines: Sequence[Machine]) -> str:
    """Return the name that measurements are kept under: the smallest GPU, else the processor."""
    gpus = [machine.gpu for machine in machines if machine.gpu is not None]
    if not gpus:
        return cpu_name()
    return min(gpus, key=lambda gpu: gpu.memory_gib).name


def expected_costs(
    spec: ResourcesSpec, trials: Sequence[TrialSpec], machines: Sequence[Machine], cache: CostCache
) -> SweepCosts:
    """Work out what ``trials`` are expected to take on ``machines``, beside their servers.

    Raises:
        BudgetError: Their servers leave no room.
    """
    device = device_of(machines)
    machines = beside_servers(machines, trials)
    members: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        members.setdefault(trial.cell, []).append(trial)
    cells = {
        name: _plan_cell(
            spec, cell, machines, cache.read(cell[0], device=device), num_wanted=len(trials)
        )
        for name, cell in members.items()
    }
    return SweepCosts(device=device, machines=list(machines), cells=cells)


def write_costs(sweep: Path, costs: SweepCosts) -> None:
    """Write ``costs.json`` into a sweep's folder; cells that it has keep their first plan.

    A resumed sweep is still compared with what was expected when it began.
    """
    document = costs.document()
    earlier = read_costs(sweep).model_dump()
    document["cells"] |= earlier["cells"]
    write_json(sweep / COSTS, document)


def _plan_cell(
    spec: ResourcesSpec,
    members: Sequence[TrialSpec],
    machines: Sequence[Machine],
    known: KnownCosts,
    *,
    num_wanted: int,
) -> CellPlan:
    trial = members[0]
    device: _Device = "cuda" if any(machine.gpus for machine in machines) else "cpu"
    dtype = expected_dtype(trial, machines)
    architecture = find_architecture(trial.model)
    memory, peak = _memory(trial, known, architecture, device=device, dtype=dtype)
    granted = _grant(spec, trial, machines, peak, num_wanted=num_wanted)
    step = _timed_step(trial, known, granted.grant)
    if step is None:
        step = guess_step(trial, architecture, device=device, dtype=dtype)
    num_steps = sum(trial.stage_steps)
    return CellPlan(
        num_trials=len(members),
        num_steps=num_steps,
        dtype=dtype,
        memory=memory,
        grant=granted.grant,
        problem=granted.problem or _share_problem(memory, granted.grant, machines),
        step=step,
        hours=_hours(step, num_steps),
    )


def expected_dtype(trial: TrialSpec, machines: Sequence[Machine]) -> ComputeDtype:
    """Return what a trial computes in on these machines, taking their processors for this one's."""
    if trial.dtype != "auto":
        return trial.dtype
    gpus = [machine.gpu for machine in machines if machine.gpus]
    return auto_dtype(
        "cuda" if gpus else "cpu",
        has_bfloat16=all(gpu is None or gpu.has_bfloat16 for gpu in gpus)
        if gpus
        else cpu_has_bfloat16(),
        quantization=trial.quantization,
    )


def _memory(
    trial: TrialSpec,
    known: KnownCosts,
    architecture: Architecture | None,
    *,
    device: _Device,
    dtype: ComputeDtype,
) -> tuple[MemoryPlan, Peak | None]:
    """Return the peak to show and the one to pack by, measured if possible."""
    if known.measured is not None:
        shown = known.measured.gpu_gib if device == "cuda" else known.measured.memory_gib
        return MemoryPlan(peak_gib=shown, source="measured"), known.peak
    if architecture is None:
        return MemoryPlan(), None
    peak_gib = estimate_gib(
        trial,
        architecture,
        device=device,
        dtype=dtype,
        max_prompt_tokens=load_task(trial.task).max_prompt_tokens,
    )
    guess = peak_gib * ESTIMATE_MARGIN
    return (
        MemoryPlan(peak_gib=peak_gib, source="estimated"),
        Peak(gpu_gib=guess) if device == "cuda" else Peak(memory_gib=guess),
    )


class _Granted(NamedTuple):
    grant: Grant | None
    problem: str | None


def _grant(
    spec: ResourcesSpec,
    trial: TrialSpec,
    machines: Sequence[Machine],
    peak: Peak | None,
    *,
    num_wanted: int,
) -> _Granted:
    num_workers = trial.distributed.num_workers
    is_needed = needs_peak(spec, machines, num_wanted=num_wanted, num_workers=num_workers)
    try:
        if is_needed and peak is None:
            return _Granted(None, None)
        grant = grant_trial(
            spec,
            machines,
            # Numbers in the file are taken as they are, so a plan must not pack by more.
            peak=peak if is_needed else None,
            num_wanted=num_wanted,
            cell=trial.cell,
            num_workers=num_workers,
        )
    except BudgetError as error:
        return _Granted(None, str(error))
    return _Granted(grant, None)


def _share_problem(
    memory: MemoryPlan, grant: Grant | None, machines: Sequence[Machine]
) -> str | None:
    """Return the problem of numbers in the file that do not hold the peak, if they do not."""
    gpu = next((machine.gpu for machine in machines if machine.gpu is not None), None)
    if grant is None or memory.peak_gib is None:
        return None
    if not any(machine.gpus for machine in machines):
        return _main_memory_problem(memory.peak_gib, memory.source, grant, machines)
    if not grant.gpus or gpu is None:
        return None
    share_gib = grant.gpus * gpu.memory_gib
    if memory.peak_gib <= share_gib:
        return None
    return (
        f"takes {memory.peak_gib:.1f} GiB ({memory.source}), but {grant.gpus:g} of {gpu.name} is "
        f"{share_gib:.1f}. Raise resources.gpus_per_trial, or set it to auto."
    )


def _main_memory_problem(
    peak_gib: float, source: str, grant: Grant, machines: Sequence[Machine]
) -> str | None:
    largest_gib = max(machine.memory_gib for machine in machines)
    if peak_gib > largest_gib:
        return (
            f"takes {peak_gib:.1f} GiB ({source}), but no machine has more than {largest_gib:.1f} "
            f"of main memory left for trials. {HOW_TO_TAKE_LESS}"
        )
    fitting = sum(int(machine.memory_gib // peak_gib) for machine in machines)
    if grant.num_workers * grant.at_once <= fitting:
        return None
    return (
        f"takes {peak_gib:.1f} GiB ({source}), so that {grant.at_once} at once do not fit into "
        f"main memory, {fitting} would. Set resources.gpus_per_trial to auto, which packs by "
        f"memory, or resources.max_concurrent_trials to {fitting}."
    )


def _timed_step(trial: TrialSpec, known: KnownCosts, grant: Grant | None) -> StepPlan | None:
    """Return what the cache says of a step, or None where nothing was timed."""
    similar = _most_similar(list(known.trials.values()), trial, grant)
    if similar:
        return StepPlan(
            step_s=statistics.median(cost.step_s for cost in similar),
            evaluation_s=statistics.median(cost.evaluation_s for cost in similar),
            other_s=statistics.median(cost.other_s for cost in similar),
            source="earlier trials",
        )
    if known.probe is not None and trial.rollouts.engine != "vllm":  # Its completions are made up.
        return StepPlan(
            step_s=known.probe.step_s,
            evaluation_s=known.probe.evaluation_s * num_evaluations(trial),
            source="probe, at worst lengths",
        )
    return None


def _most_similar(
    costs: Sequence[TrialCost], trial: TrialSpec, grant: Grant | None
) -> Sequence[TrialCost]:
    """Keep trials of the same curriculum if there are any, and then of the same grant."""
    kept = [cost for cost in costs if cost.curriculum == trial.curriculum] or costs
    if grant is None:
        return kept
    same = [
        cost
        for cost in kept
        if cost.num_threads == grant.num_threads and (cost.gpus or 0.0) == grant.gpus
    ]
    return same or kept


def _hours(step: StepPlan, num_steps: int) -> float | None:
    if step.step_s is None or step.evaluation_s is None:
        return None
    return (num_steps * step.step_s + step.evaluation_s + step.other_s) / 3600


def _total(parts: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Add up products; None if a factor is not known."""
    if any(factor is None for part in parts for factor in part):
        return None
    return math.fsum((hours or 0.0) * (times or 0.0) for hours, times in parts)
