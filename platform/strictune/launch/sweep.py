"""One sweep from its first baseline to its last trial."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from strictune.config import SweepSpec, TrialSpec
from strictune.cost_cache import CostCache
from strictune.costs import expected_costs, write_costs
from strictune.launch.baselines import measure_baselines
from strictune.launch.cluster import cluster_machines, ray_cluster
from strictune.launch.driver import driving
from strictune.launch.folder import SweepFolder, write_trial
from strictune.launch.grants import grant_cells, measure_peaks, num_at_once, with_share
from strictune.launch.progress import reporting
from strictune.launch.trials import GrantedTrial, Runner, run_trials
from strictune.launch.vllm import prepare_servers, vllm_servers
from strictune.launch.waiting import wait_for_room
from strictune.packing import Machine
from strictune.records import Grant
from strictune.served import beside_servers

__all__ = ["SweepEnd", "grant_and_cost", "run_sweep", "runner_for", "train_on"]

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

    Ctrl-C, SIGTERM and ``strictune stop`` stop the trials; what they have checkpointed stays,
    and they remain open.

    Raises:
        StorageError: Another process runs this sweep.
        BudgetError: A trial or a server does not fit on the cluster, or its memory could not be
            measured; no trial has started.
        SpecError: A vLLM server cannot be used.
    """
    with driving(folder) as driver:
        open_trials = [trial for trial in trials if folder.outcome(trial.trial_id) is None]
        warnings: Sequence[str] = ()
        if open_trials:
            try:
                warnings = _run_open(
                    sweep, open_trials, folder, driver=driver, say=say, every_s=every_s
                )
            except KeyboardInterrupt:
                say("interrupted; trials keep what they have checkpointed")
    states: Counter[str] = Counter()
    for trial in trials:
        outcome = folder.outcome(trial.trial_id)
        states[outcome.state if outcome else "open"] += 1
    return SweepEnd(num_by_state=dict(states), warnings=warnings)


def _run_open(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    driver: str,
    say: Callable[[str], None],
    every_s: float,
) -> Sequence[str]:
    prepare_servers(trials, folder)
    say("starting Ray")
    with ray_cluster():
        wait_for_room(sweep.resources, trials, say=say)
        runner = runner_for(sweep, folder, driver=driver)
        return train_on(sweep, trials, runner, say=say, every_s=every_s)


def runner_for(sweep: SweepSpec, folder: SweepFolder, *, driver: str) -> Runner:
    """Return what the trials of a sweep share on the cluster that is connected."""
    return Runner(
        folder=folder,
        driver=driver,
        machines=cluster_machines(),
        step_timeout_s=sweep.resources.step_timeout_s,
        max_concurrent=sweep.resources.max_concurrent_trials,
    )


def train_on(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    runner: Runner,
    *,
    say: Callable[[str], None],
    every_s: float,
) -> Sequence[str]:
    """Measure the baselines of ``trials`` and run them to their ends.

    Returns:
        Baselines that failed, and why trials are left open.
    """
    folder = runner.folder
    grants = grant_and_cost(sweep, trials, folder, machines=runner.machines, say=say)
    for trial in trials:
        write_trial(folder, with_share(trial, num_at_once(grants)))
    runner = replace(runner, machines=beside_servers(runner.machines, trials))
    with vllm_servers(trials, folder, grants=grants, say=say):
        warnings = measure_baselines(
            trials, folder, grants=grants, step_timeout_s=runner.step_timeout_s, say=say
        )
        say(f"running {len(trials)} trials")
        granted = [GrantedTrial(trial.trial_id, grants[trial.cell]) for trial in trials]
        ids = [trial.trial_id for trial in trials]
        criterion = sweep.task.primary_criterion
        with reporting(folder, primary_criterion=criterion, only=ids, say=say, every_s=every_s):
            left_open = run_trials(granted, runner)
    for reason in left_open:
        say(f"left open: {reason}")
    return [*warnings, *left_open]


def grant_and_cost(
    sweep: SweepSpec,
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    machines: Sequence[Machine],
    say: Callable[[str], None],
) -> Mapping[str, Grant]:
    """Measure what must be measured, write ``costs.json``, and grant each cell its share."""
    cache = CostCache()
    measure_peaks(sweep.resources, trials, folder, machines=machines, cache=cache, say=say)
    grants = grant_cells(sweep.resources, trials, machines, cache=cache)
    costs = expected_costs(sweep.resources, trials, machines, cache)
    write_costs(folder.path, costs)
    for words, cells in _by_grant(grants).items():
        say(f"each process of {', '.join(cells)} gets {words}")
    for name, cell in costs.cells.items():
        if cell.problem is not None:
            say(f"{name} {cell.problem}")
    return grants


def _by_grant(grants: Mapping[str, Grant]) -> dict[str, list[str]]:
    """Group cells by what they get, in words."""
    cells: dict[str, list[str]] = {}
    for cell, grant in grants.items():
        parts = [f"{grant.cpus:g} CPU"]
        if grant.gpus:
            parts.append(f"{grant.gpus:g} GPU")
        if grant.memory_gib is not None:
            parts.append(f"{grant.memory_gib:.1f} GiB")
        words = ", ".join(parts)
        if grant.num_workers > 1:
            words += f"; a trial has {grant.num_workers}"
        cells.setdefault(words, []).append(cell)
    return cells
