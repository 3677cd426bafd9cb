"""What a sweep is expected to cost, cell by cell: memory, places, hours.

Every number says where it comes from. Memory is ``measured`` (by the probe, or by trials of
the same shape and device), ``estimated`` (``trainables.memory.estimate``) or unknown. Seconds
a step come from ``earlier trials`` or from the ``probe``, whose completions are as long as
they may be, so that its hours are an upper bound.

Nothing is measured here; ``trials_to_probe`` names what a launcher has to measure first.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from strictune.config import ResourcesSpec, TrialSpec
from strictune.cost_book import CostBook, KnownCosts
from strictune.errors import BudgetError
from strictune.packing import Grant, Machine, Peak, grant_trial, needs_peak
from trainables.devices import cpu_name
from trainables.memory.architecture import find_architecture
from trainables.memory.estimate import estimate_memory, workload_of
from trainables.memory.measured import TrialCost
from trainables.memory.shape import shape_digest
from trainables.tasks import load_task

__all__ = [
    "CellPlan",
    "SweepCosts",
    "expected_costs",
    "measured_peak",
    "trials_to_probe",
    "write_costs",
]

ESTIMATE_MARGIN = 1.25
"""Room above an estimate, on top of ``PEAK_MARGIN``: it counts tensors, not fragments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The peak of a trial: on the card where there is one, else of its process."""

    peak_gib: float | None
    source: Literal["measured", "estimated", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """The seconds of an optimizer step, and of all of a trial's evaluations together."""

    step_s: float | None
    evaluation_s: float | None
    other_s: float = 0.0
    """Loading and checkpoints of a trial."""
    source: Literal["earlier trials", "probe, at worst lengths", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """What the trials of one cell are expected to take."""

    num_trials: int
    num_steps: int
    """Optimizer steps of one trial."""
    memory: MemoryPlan
    grant: Grant | None
    """None where it takes a probe to know."""
    problem: str | None
    """Why a trial does not fit, or may not."""
    step: StepPlan
    hours: float | None
    """Of one trial; None where no step was ever timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCosts:
    """The cells of a sweep, and their sum."""

    device: str
    machines: Sequence[Machine]
    cells: Mapping[str, CellPlan]

    @property
    def trial_hours(self) -> float | None:
        """Hours of all trials, one after the other; None if those of a cell are not known."""
        return _total([(cell.hours, cell.num_trials) for cell in self.cells.values()])

    @property
    def card_hours(self) -> float | None:
        """Hours of cards: each trial's hours times its share; 0 on machines without."""
        return _total(
            [
                (cell.hours, cell.num_trials * cell.grant.gpus if cell.grant else None)
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

    def document(self) -> dict[str, Any]:
        """Return the costs as plain data: what ``costs.json`` and ``plan --json`` hold."""
        return {
            "device": self.device,
            "machines": [asdict(machine) for machine in self.machines],
            "cells": {name: asdict(cell) for name, cell in self.cells.items()},
            "trial_hours": self.trial_hours,
            "card_hours": self.card_hours,
            "wall_hours": self.wall_hours,
        }


def trials_to_probe(
    spec: ResourcesSpec, trials: Sequence[TrialSpec], machines: Sequence[Machine], book: CostBook
) -> list[TrialSpec]:
    """Return one trial for each shape whose peak must be measured before it can be packed."""
    if not needs_peak(spec, machines, num_wanted=len(trials)):
        return []
    device = _device(machines)
    first_of_cell: dict[str, TrialSpec] = {}
    for trial in trials:
        first_of_cell.setdefault(trial.cell, trial)
    first_of_shape: dict[str, TrialSpec] = {}
    for trial in first_of_cell.values():
        if book.read(trial, device=device).probe is None:
            first_of_shape.setdefault(shape_digest(trial), trial)
    return list(first_of_shape.values())


def measured_peak(trial: TrialSpec, machines: Sequence[Machine], book: CostBook) -> Peak | None:
    """Return the most that a trial of this shape has been seen to take on these machines."""
    return book.read(trial, device=_device(machines)).peak


def expected_costs(
    spec: ResourcesSpec, trials: Sequence[TrialSpec], machines: Sequence[Machine], book: CostBook
) -> SweepCosts:
    """Work out what ``trials`` are expected to take on ``machines``."""
    device = _device(machines)
    members: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        members.setdefault(trial.cell, []).append(trial)
    cells = {
        name: _plan_cell(
            spec, cell, machines, book.read(cell[0], device=device), num_wanted=len(trials)
        )
        for name, cell in members.items()
    }
    return SweepCosts(device=device, machines=list(machines), cells=cells)


def write_costs(sweep: Path, costs: SweepCosts) -> None:
    """Write ``costs.json`` into a sweep's folder; cells that it has keep their first plan.

    A sweep that is resumed is still held against what was expected when it began.
    """
    path = sweep / "costs.json"
    document = costs.document()
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))["cells"]
        document["cells"] |= earlier
    temporary = path.with_name(".costs.json.tmp")
    temporary.write_text(
        json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    temporary.replace(path)


def _plan_cell(
    spec: ResourcesSpec,
    members: Sequence[TrialSpec],
    machines: Sequence[Machine],
    known: KnownCosts,
    *,
    num_wanted: int,
) -> CellPlan:
    trial = members[0]
    is_gpu = any(machine.gpus for machine in machines)
    memory, peak = _memory(trial, known, is_gpu=is_gpu)
    granted = _grant(spec, trial, machines, peak, num_wanted=num_wanted)
    step = _step(trial, known, granted.grant)
    num_steps = trial.grpo.max_steps
    return CellPlan(
        num_trials=len(members),
        num_steps=num_steps,
        memory=memory,
        grant=granted.grant,
        problem=granted.problem or _too_tight(memory, granted.grant, machines),
        step=step,
        hours=_hours(step, num_steps),
    )


def _memory(trial: TrialSpec, known: KnownCosts, *, is_gpu: bool) -> tuple[MemoryPlan, Peak | None]:
    measured = known.measured
    if measured is not None:
        shown = measured.gpu_gib if is_gpu else measured.memory_gib
        return MemoryPlan(peak_gib=shown, source="measured"), known.peak
    architecture = find_architecture(trial.model)
    if architecture is None:
        return MemoryPlan(peak_gib=None, source="unknown"), None
    workload = workload_of(
        trial,
        device="cuda" if is_gpu else "cpu",
        max_prompt_tokens=load_task(trial.task).max_prompt_tokens,
    )
    peak_gib = estimate_memory(trial, architecture, workload).peak_gib
    guess = peak_gib * ESTIMATE_MARGIN
    return (
        MemoryPlan(peak_gib=peak_gib, source="estimated"),
        Peak(gpu_gib=guess) if is_gpu else Peak(memory_gib=guess),
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
    is_needed = needs_peak(spec, machines, num_wanted=num_wanted)
    if is_needed and peak is None:
        return _Granted(None, None)
    try:
        grant = grant_trial(
            spec,
            machines,
            # Numbers in the file are taken as they are, so a plan must not pack by more.
            peak=peak if is_needed else None,
            num_wanted=num_wanted,
            cell=trial.cell,
        )
    except BudgetError as error:
        return _Granted(None, str(error))
    return _Granted(grant, None)


def _too_tight(memory: MemoryPlan, grant: Grant | None, machines: Sequence[Machine]) -> str | None:
    """Say that a share of the user's own does not hold the peak."""
    card = next((machine.card for machine in machines if machine.card is not None), None)
    if grant is None or not grant.gpus or card is None or memory.peak_gib is None:
        return None
    share_gib = grant.gpus * card.memory_gib
    if memory.peak_gib <= share_gib:
        return None
    return (
        f"takes {memory.peak_gib:.1f} GiB ({memory.source}), but {grant.gpus:g} of {card.name} is "
        f"{share_gib:.1f}. Raise resources.gpus_per_trial, or set it to auto."
    )


def _step(trial: TrialSpec, known: KnownCosts, grant: Grant | None) -> StepPlan:
    similar = _most_similar(list(known.trials.values()), trial, grant)
    if similar:
        return StepPlan(
            step_s=statistics.median(cost.step_s for cost in similar),
            evaluation_s=statistics.median(cost.evaluation_s for cost in similar),
            other_s=statistics.median(cost.other_s for cost in similar),
            source="earlier trials",
        )
    if known.probe is not None:
        return StepPlan(
            step_s=known.probe.step_s,
            evaluation_s=known.probe.evaluation_s * _num_evaluations(trial),
            source="probe, at worst lengths",
        )
    return StepPlan(step_s=None, evaluation_s=None, source="unknown")


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


def _num_evaluations(trial: TrialSpec) -> int:
    """Count one evaluation for each stage, and one of the final split where it is another."""
    evaluation = trial.evaluation
    return len(trial.stages) + (evaluation.split != evaluation.final_split)


def _hours(step: StepPlan, num_steps: int) -> float | None:
    if step.step_s is None:
        return None
    return (num_steps * step.step_s + (step.evaluation_s or 0.0) + step.other_s) / 3600


def _total(parts: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Add up products; None if a factor is not known."""
    if any(factor is None for part in parts for factor in part):
        return None
    return math.fsum((hours or 0.0) * (times or 0.0) for hours, times in parts)


def _device(machines: Sequence[Machine]) -> str:
    """Name what measurements are kept under: the smallest card, else the processor."""
    cards = [machine.card for machine in machines if machine.card is not None]
    if not cards:
        return cpu_name()
    return min(cards, key=lambda card: card.memory_gib).name
