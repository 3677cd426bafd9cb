"""The cost cache: what trials of each shape have taken so far, kept from sweep to sweep.

One JSON file for each shape and device in the user's cache directory. It holds the probe's
result and the costs of the last trials, for the plan of the next sweep; ``remember_costs`` reads
these from a sweep's folder. A file that cannot be read counts as empty and is replaced; what cannot
be written is kept in memory while the cache is open.
"""

import json
import logging
import re
import statistics
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from filelock import FileLock

from strictune.cache import cache_folder
from strictune.config import TrialSpec, load_trial
from strictune.packing import Peak
from strictune.records import (
    TRIALS,
    CellPlan,
    read_costs,
    read_lock,
    read_metrics,
    read_outcome,
    read_plan,
    write_json,
)
from trainables.memory.measured import Probe, TrialCost, shape_digest, shape_of

__all__ = ["CostCache", "KnownCosts", "read_trial_cost", "remember_costs"]

logger = logging.getLogger(__name__)

MAX_TRIALS = 50
"""Trials kept for a shape, the latest ones."""

HEAP_GROWTH = 1.6
"""Main memory of a whole trial in terms of the probe's two steps. Steps of varying lengths
leave holes in the C library's heap that it does not return: a trial on builtin:tiny grew to
3.61 GiB in 30 steps, where the probe at its longest lengths took 2.26."""


STEP_KEY = "time/step_s"
STEP_PARTS = frozenset({"time/generation_s", "time/scoring_s"})
GOLDS_KEY = "time/golds_s"
"""Drawn once for many trials, so no part of what the next one takes."""
PEAK_KEYS = frozenset({"gpu/peak_gib", "gpu/peak_reserved_gib", "memory/peak_gib"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCosts:
    """Measured costs of one shape on one kind of device."""

    probe: Probe | None = None
    trials: Mapping[str, TrialCost] = field(default_factory=dict)
    """By trial id, oldest first."""

    @property
    def measured(self) -> Peak | None:
        """The largest measurement, or None before the first."""
        return _largest([*self.trials.values(), *([self.probe] if self.probe else [])])

    @property
    def peak(self) -> Peak | None:
        """Expected peak of a whole trial; after a probe alone, its process is expected to grow."""
        measured = self.measured
        if measured is None or self.trials or measured.memory_gib is None:
            return measured
        return replace(measured, memory_gib=measured.memory_gib * HEAP_GROWTH)


class CostCache:
    """Reads and writes measured costs."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the cache in ``folder``, by default in the user's cache directory."""
        self._folder = folder or cache_folder() / "costs"
        self._unwritten: dict[Path, KnownCosts] = {}

    def read(self, spec: TrialSpec, *, device: str) -> KnownCosts:
        """Return what is known of trials of this shape on ``device``."""
        return self._known(self._path(spec, device))

    def add_probe(self, spec: TrialSpec, probe: Probe) -> None:
        """Write down what the probe measured, in place of an earlier probe."""
        self._update(spec, probe.device, KnownCosts(probe=probe))

    def add_trial(self, spec: TrialSpec, cost: TrialCost) -> None:
        """Write down what a finished trial took; a second time changes nothing."""
        self._update(spec, cost.device, KnownCosts(trials={spec.trial_id: cost}))

    def _path(self, spec: TrialSpec, device: str) -> Path:
        slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
        return self._folder / f"{shape_digest(spec)}-{slug}.json"

    def _known(self, path: Path) -> KnownCosts:
        return _merged(_parse(path), self._unwritten.get(path, KnownCosts()))

    def _update(self, spec: TrialSpec, device: str, news: KnownCosts) -> None:
        path = self._path(spec, device)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                costs = _merged(self._known(path), news)
                write_json(path, {"shape": shape_of(spec), "device": device, **asdict(costs)})
        except OSError as error:
            logger.warning("measured costs cannot be kept for later sweeps (%s)", error)
            self._unwritten[path] = _merged(self._unwritten.get(path, KnownCosts()), news)
        else:
            self._unwritten.pop(path, None)


def remember_costs(sweep: Path, cache: CostCache) -> int:
    """Write the costs of the sweep's finished trials into the cache; returns how many."""
    planned = read_costs(sweep).cells
    remembered = 0
    for trial in read_plan(sweep).trials:
        folder = sweep / TRIALS / trial.trial_id
        outcome = read_outcome(folder)
        if outcome is None or outcome.state != "FINISHED":
            continue
        grant = planned.get(trial.cell, CellPlan()).grant
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
            elif key.startswith("time/") and key not in {STEP_KEY, *STEP_PARTS}:
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


def _merged(known: KnownCosts, news: KnownCosts) -> KnownCosts:
    trials = {**known.trials, **news.trials}
    return KnownCosts(
        probe=news.probe or known.probe, trials=dict(list(trials.items())[-MAX_TRIALS:])
    )


def _largest(sources: Sequence[Probe | TrialCost]) -> Peak | None:
    gpu_gib = [source.gpu_gib for source in sources if source.gpu_gib is not None]
    memory_gib = [source.memory_gib for source in sources if source.memory_gib is not None]
    if not gpu_gib and not memory_gib:
        return None
    return Peak(
        gpu_gib=max(gpu_gib, default=None),
        gpu_failed_gib=next((s.gpu_failed_gib for s in sources if isinstance(s, Probe)), None),
        memory_gib=max(memory_gib, default=None),
    )


def _parse(path: Path) -> KnownCosts:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        probe = document["probe"]
        return KnownCosts(
            probe=Probe(**probe) if probe else None,
            trials={name: TrialCost(**cost) for name, cost in document["trials"].items()},
        )
    except FileNotFoundError:
        return KnownCosts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("measured costs in %s cannot be read (%s) and are not used", path, error)
        return KnownCosts()


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
