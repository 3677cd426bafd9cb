"""What a sweep took, beside what was planned: memory, seconds a step and hours, cell by cell.

Read from the sweep's folder alone.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strictune.config import load_trial
from strictune.cost_cache import CostCache
from strictune.records import (
    TRIALS,
    PlannedCosts,
    read_costs,
    read_lock,
    read_metrics,
    read_outcome,
    read_plan,
)
from trainables.memory.measured import TrialCost

__all__ = ["CellCosts", "compare_costs", "read_trial_cost", "remember_costs"]

STEP_KEY = "time/step_s"
STEP_KEYS = frozenset({STEP_KEY})
PEAK_KEYS = frozenset({"gpu/peak_gib", "gpu/peak_reserved_gib", "memory/peak_gib"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCosts:
    """One cell: planned and actual. None is not known, or not measured."""

    cell: str
    num_trials: int
    num_finished: int
    planned_peak_gib: float | None
    planned_peak_source: str | None
    """See ``cost_plan.CellPlan``."""
    peak_gib: float | None
    """The largest of its trials: on the GPU where there is one, else of the process."""
    planned_step_s: float | None
    planned_step_source: str | None
    step_s: float | None
    """Median of its trials' medians."""
    planned_hours: float | None
    """For each trial."""
    hours: float | None
    """Median of its finished trials."""

    def row(self) -> dict[str, Any]:
        """Return the cell as plain data, for tables and reports."""
        return asdict(self)


def compare_costs(sweep: Path) -> list[CellCosts]:
    """Put plan and actual of every cell of a sweep side by side; pure reading."""
    plan, planned = read_plan(sweep), read_costs(sweep).cells
    members: dict[str, list[Path]] = {cell.name: [] for cell in plan.cells}
    for trial in plan.trials:
        members[trial.cell].append(sweep / TRIALS / trial.trial_id)
    return [
        _compare_cell(name, trials, planned.get(name, PlannedCosts()))
        for name, trials in members.items()
    ]


def remember_costs(sweep: Path, cache: CostCache) -> int:
    """Write the costs of the sweep's finished trials into the cache; returns how many."""
    planned = read_costs(sweep).cells
    remembered = 0
    for trial in read_plan(sweep).trials:
        folder = sweep / TRIALS / trial.trial_id
        outcome = read_outcome(folder)
        if outcome is None or outcome.state != "FINISHED":
            continue
        grant = planned.get(trial.cell, PlannedCosts()).grant
        cost = read_trial_cost(folder, gpus=grant.gpus if grant else None)
        if cost is not None:
            cache.add_trial(load_trial(folder / "trial.yaml"), cost)
            remembered += 1
    return remembered


def read_trial_cost(folder: Path, *, gpus: float | None = None) -> TrialCost | None:
    """Read what one trial took so far, or None before its first timed step."""
    steps: list[float] = []
    evaluation_s = 0.0
    peaks: dict[str, float] = {}
    for _, metrics in read_metrics(folder):
        steps += [metrics[STEP_KEY]] if STEP_KEY in metrics else []
        for key, value in metrics.items():
            if key.startswith("time/") and key not in STEP_KEYS:
                evaluation_s += value
            elif key in PEAK_KEYS:
                peaks[key] = max(value, peaks.get(key, 0.0))
    if not steps:
        return None
    lock, outcome = read_lock(folder), read_outcome(folder)
    seconds = outcome.seconds if outcome else None
    if seconds is None:
        seconds = sum(steps) + evaluation_s
    spec = load_trial(folder / "trial.yaml")
    is_even = spec.method == "sft" or spec.grpo.optimizer_steps_per_generation == 1
    return TrialCost(
        device=lock.device if lock else "",
        curriculum=spec.curriculum,
        num_threads=lock.torch_threads if lock else 1,
        gpus=gpus,
        num_steps=len(steps),
        step_s=(statistics.median if is_even else statistics.fmean)(steps),
        evaluation_s=evaluation_s,
        other_s=max(0.0, seconds - sum(steps) - evaluation_s),
        gpu_gib=peaks.get("gpu/peak_gib"),
        gpu_reserved_gib=peaks.get("gpu/peak_reserved_gib"),
        memory_gib=peaks.get("memory/peak_gib"),
    )


def _compare_cell(name: str, trials: Sequence[Path], planned: PlannedCosts) -> CellCosts:
    outcomes = [outcome for folder in trials if (outcome := read_outcome(folder)) is not None]
    finished = [outcome.seconds or 0.0 for outcome in outcomes if outcome.state == "FINISHED"]
    costs = [cost for folder in trials if (cost := read_trial_cost(folder)) is not None]
    peaks = [cost.gpu_gib or cost.memory_gib for cost in costs]
    return CellCosts(
        cell=name,
        num_trials=len(trials),
        num_finished=len(finished),
        planned_peak_gib=planned.memory.peak_gib,
        planned_peak_source=planned.memory.source,
        peak_gib=max((peak for peak in peaks if peak is not None), default=None),
        planned_step_s=planned.step.step_s,
        planned_step_source=planned.step.source,
        step_s=statistics.median(cost.step_s for cost in costs) if costs else None,
        planned_hours=planned.hours,
        hours=statistics.median(finished) / 3600 if finished else None,
    )
