"""One sweep from its first baseline to its last trial."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from strictune.config import SweepSpec, TrialSpec
from strictune.launch.baselines import measure_baselines
from strictune.launch.cluster import ray_cluster, trial_resources
from strictune.launch.folder import SweepFolder
from strictune.launch.progress import reporting
from strictune.launch.trials import run_trials

__all__ = ["SweepEnd", "run_sweep"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepEnd:
    """How the trials of a sweep stand when it stops."""

    num_by_state: Mapping[str, int]
    """Trials by FINISHED, FAILED and KILLED; ``open`` counts those without an end."""
    warnings: Sequence[str]

    @property
    def is_interrupted(self) -> bool:
        """Trials are left that a resume would run."""
        return self.num_by_state.get("open", 0) > 0

    @property
    def status(self) -> Literal["FINISHED", "FAILED", "KILLED"]:
        """The sweep as a whole: FAILED only if no trial finished."""
        if self.is_interrupted:
            return "KILLED"
        return "FINISHED" if self.num_by_state.get("FINISHED") else "FAILED"

    @property
    def is_clean(self) -> bool:
        """Every trial finished."""
        return set(self.num_by_state) == {"FINISHED"}


def run_sweep(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    say: Callable[[str], None],
    every_s: float,
) -> SweepEnd:
    """Measure the baselines, run every trial that has not ended, and count the ends.

    Ctrl-C stops the trials; what they have checkpointed stays, and they remain open.
    """
    open_trials = [trial for trial in trials if folder.outcome(trial.trial_id) is None]
    warnings: Sequence[str] = ()
    if open_trials:
        try:
            warnings = _run_open(sweep, open_trials, folder, say=say, every_s=every_s)
        except KeyboardInterrupt:
            say("interrupted; trials keep what they have checkpointed")
    states: Counter[str] = Counter()
    for trial in trials:
        outcome = folder.outcome(trial.trial_id)
        states[outcome["state"] if outcome else "open"] += 1
    return SweepEnd(num_by_state=dict(states), warnings=warnings)


def _run_open(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    say: Callable[[str], None],
    every_s: float,
) -> Sequence[str]:
    say("starting Ray")
    with ray_cluster():
        resources = trial_resources(sweep.resources)
        say(f"measuring baselines; each process gets {_in_words(resources)}")
        warnings = measure_baselines(trials, folder, resources=resources)
        for warning in warnings:
            say(warning)
        say(f"running {len(trials)} trials")
        with reporting(trials, folder, say=say, every_s=every_s):
            run_trials(
                [trial.trial_id for trial in trials],
                folder,
                resources=resources,
                max_concurrent=sweep.resources.max_concurrent_trials,
            )
    return warnings


def _in_words(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name.upper()}" for name, amount in resources.items())
