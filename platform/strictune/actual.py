"""What trials took, from their folders into the cache of costs, for the plans of later sweeps."""

import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from strictune.config import TrialSpec, load_trial
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

__all__ = ["read_trial_cost", "remember_costs"]

STEP_KEY = "time/step_s"
GOLDS_KEY = "time/golds_s"
"""Drawn once for many trials, so no part of what the next one takes."""
PEAK_KEYS = frozenset({"gpu/peak_gib", "gpu/peak_reserved_gib", "memory/peak_gib"})


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
    steps: dict[int, float] = {}
    evaluation_s = golds_s = 0.0
    peaks: dict[str, float] = {}
    for step, metrics in read_metrics(folder):
        if STEP_KEY in metrics:
            steps[step] = metrics[STEP_KEY]
        for key, value in metrics.items():
            if key == GOLDS_KEY:
                golds_s += value
            elif key.startswith("time/") and key != STEP_KEY:
                evaluation_s += value
            elif key in PEAK_KEYS:
                peaks[key] = max(value, peaks.get(key, 0.0))
    if not steps:
        return None
    spec = load_trial(folder / "trial.yaml")
    lock, outcome = read_lock(folder), read_outcome(folder)
    seconds = outcome.seconds if outcome else None
    if seconds is None:
        seconds = sum(steps.values()) + evaluation_s + golds_s
    return TrialCost(
        device=lock.device if lock else "",
        curriculum=spec.curriculum,
        num_threads=lock.torch_threads if lock else 1,
        gpus=gpus,
        num_steps=len(steps),
        step_s=_typical_step_s(spec, steps),
        evaluation_s=evaluation_s,
        other_s=max(0.0, seconds - sum(steps.values()) - evaluation_s - golds_s),
        gpu_gib=peaks.get("gpu/peak_gib"),
        gpu_reserved_gib=peaks.get("gpu/peak_reserved_gib"),
        memory_gib=peaks.get("memory/peak_gib"),
    )


def _typical_step_s(spec: TrialSpec, steps: Mapping[int, float]) -> float:
    """Return the mean over the steps of what a step of each method took.

    That is the median of the method's, or the mean where not every step of GRPO generates.
    """
    typical = {
        "sft": statistics.median,
        "grpo": statistics.median
        if spec.grpo.optimizer_steps_per_generation == 1
        else statistics.fmean,
    }
    ends = list(accumulate(spec.stage_steps))
    by_method: dict[str, list[float]] = defaultdict(list)
    for step, seconds in steps.items():
        by_method[spec.stage_method(spec.stages[bisect_left(ends, step)])].append(seconds)
    return statistics.fmean(
        typical[method](found) for method, found in by_method.items() for _ in found
    )
