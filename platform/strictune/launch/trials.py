"""Trials through Ray Tune: scheduled, restarted when their process dies, recorded when lost."""

import contextlib
import logging
import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.tune.search import Searcher

from strictune.errors import BudgetError
from strictune.launch.folder import SweepFolder
from strictune.packing import Machine, next_larger
from strictune.records import Grant, read_outcome
from trainables.ray_trainable import Attempt, run_trial
from trainables.records import record_failure

__all__ = [
    "GROWN",
    "Fitted",
    "GrantedTrial",
    "Pause",
    "Runner",
    "fit",
    "last_line",
    "pause_of",
    "record_lost",
    "resources_of",
    "run_trials",
    "tuner_for",
]

logger = logging.getLogger(__name__)

MAX_RESTARTS = 3
"""Times that a trial whose process died is started again."""
LOW_ON_MEMORY = re.compile(r"low on memory|OutOfMemory")
"""Ray's error for a process that it or the kernel killed because main memory ran out."""
GROWN = "out of memory, granted more"
INTERRUPTING = frozenset({signal.SIGINT, signal.SIGUSR1})
"""Signals that end a Tune run. SIGTERM and ``strictune stop`` arrive as SIGINT."""
MAX_NOTED = 4096
"""Bytes read from the signal pipe, one for each signal."""


class GrantedTrial(NamedTuple):
    """A trial and what it is granted."""

    trial_id: str
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What all trials of one run of a sweep share."""

    folder: SweepFolder
    driver: str
    """Names this run of the sweep."""
    machines: Sequence[Machine]
    step_timeout_s: float | None
    max_concurrent: int | None
    trainable: Callable[[Mapping[str, Attempt]], None] = run_trial


def run_trials(trials: Sequence[GrantedTrial], runner: Runner) -> list[str]:
    """Run the trials to their ends.

    A trial that runs out of memory is run once more with the next larger grant. One whose process
    died more often than ``MAX_RESTARTS`` is recorded as FAILED here, because it could not do so
    itself; it stays open if the sweep was interrupted, which may have ended its processes.

    Returns:
        Why trials are left open, one message each.

    Raises:
        KeyboardInterrupt: The user interrupts; trials without an end are open.
    """
    paused = _run_pass(trials, runner, why=None)
    grown = []
    for trial in trials:
        larger = next_larger(trial.grant, runner.machines)
        if paused.get(trial.trial_id, _NO_PAUSE).lacks == "memory" and larger is not None:
            logger.info("trial=%s out of memory, granted %s", trial.trial_id, larger)
            grown.append(GrantedTrial(trial.trial_id, larger))
            del paused[trial.trial_id]
    if grown:
        paused |= _run_pass(grown, runner, why=GROWN)
    return list(dict.fromkeys(pause.reason for pause in paused.values()))


class Pause(NamedTuple):
    """Why a trial is open though its run is over."""

    lacks: str
    """``memory`` or ``disk``."""
    reason: str


_NO_PAUSE = Pause("", "")


def _run_pass(
    trials: Sequence[GrantedTrial], runner: Runner, *, why: str | None
) -> dict[str, Pause]:
    """Run each trial once, restarts included; return those that are paused, by trial id."""
    if not trials:
        return {}
    attempts = {
        trial.trial_id: Attempt(
            folder=str(runner.folder.trial(trial.trial_id)),
            driver=runner.driver,
            step_timeout_s=runner.step_timeout_s,
            may_grow=why is None and next_larger(trial.grant, runner.machines) is not None,
            resources=resources_of(trial.grant),
            num_workers=trial.grant.num_workers,
            why=why,
        )
        for trial in trials
    }
    tuner = tuner_for(
        runner,
        name="tune" if why is None else "tune-grown",
        grants=[trial.grant for trial in trials],
        attempts=list(attempts.values()),
    )
    paused = {}
    fitted = fit(tuner)
    for result in fitted.results:
        # By its folder: a trial whose process never answered has no config.
        attempt = attempts[Path(result.path).name]
        pause = pause_of(result.metrics or {}, result.error, may_grow=attempt["may_grow"])
        if pause is not None:
            paused[Path(attempt["folder"]).name] = pause
        elif result.error is not None and not fitted.is_interrupted:
            record_lost(Path(attempt["folder"]), result.error)
    if fitted.is_interrupted:
        raise KeyboardInterrupt
    return paused


def tuner_for(
    runner: Runner,
    *,
    name: str,
    grants: Iterable[Grant],
    attempts: Sequence[Attempt] = (),
    searcher: Searcher | None = None,
) -> tune.Tuner:
    """Return the tuner for given attempts, or for those that a searcher suggests.

    Args:
        runner: What they share.
        name: Of the folder in which Tune keeps its own records.
        grants: What they are granted.
        attempts: One for each trial.
        searcher: In place of attempts.
    """
    # Tune's own reporting writes files into the user's home and tables to the terminal.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    return tune.Tuner(
        tune.with_resources(
            runner.trainable,
            lambda config: tune.PlacementGroupFactory([_reserved(config["attempt"])]),
        ),
        param_space={"attempt": tune.grid_search(list(attempts))} if searcher is None else {},
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=1 if searcher is None else -1,
            max_concurrent_trials=_most_at_once(runner, grants),
            reuse_actors=False,
            trial_dirname_creator=lambda trial: Path(trial.config["attempt"]["folder"]).name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(runner.folder.path / "ray"),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            verbose=0,
        ),
    )


class Fitted(NamedTuple):
    """The results of a Tune run."""

    results: tune.ResultGrid
    """One for each trial, also of those that were cut off or have not started."""
    is_interrupted: bool
    """It was ended by a signal."""


def fit(tuner: tune.Tuner) -> Fitted:
    """Run a tuner, in the main thread; a second SIGINT interrupts its shutdown.

    Tune handles the first SIGINT: it stops its trials in order and returns as if they were done.
    If none arrives, its handler stays installed. So signals are recorded through the interpreter's
    wakeup pipe, and the handler is restored.

    Raises:
        BudgetError: Ray ended the process of a trial because a machine's memory ran out, which
            Tune takes for the end of the run.
        KeyboardInterrupt: SIGINT arrived twice, or before Tune was ready for it.
    """
    handler = signal.getsignal(signal.SIGINT)
    noted, note = os.pipe()
    os.set_blocking(noted, False)
    os.set_blocking(note, False)
    before = signal.set_wakeup_fd(note, warn_on_full_buffer=False)
    try:
        results = tuner.fit()
        signals = b""
        with contextlib.suppress(BlockingIOError):  # None arrived.
            signals = os.read(noted, MAX_NOTED)
        return Fitted(results, is_interrupted=not INTERRUPTING.isdisjoint(signals))
    except RuntimeError as error:
        if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
            raise
        raise BudgetError(
            f"Ray ended a trial's process: {str(error.__cause__).splitlines()[0]}. What is not "
            "finished stays open. End other programs, or lower resources.max_concurrent_trials; "
            "then go on with --resume."
        ) from error
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, handler)
        os.close(noted)
        os.close(note)


def resources_of(grant: Grant) -> dict[str, float]:
    """Return a grant in the names of a placement group."""
    names = {"cpu": "CPU", "gpu": "GPU", "memory": "memory"}
    return {names[name]: amount for name, amount in grant.ray_resources().items()}


def _reserved(attempt: Attempt) -> dict[str, float]:
    """Return what Tune reserves: next to nothing where Ray Train reserves for each worker."""
    return attempt["resources"] if attempt["num_workers"] == 1 else {"memory": 1}


def _most_at_once(runner: Runner, grants: Iterable[Grant]) -> int | None:
    """Return how many trials Tune may start: it does not see what their workers reserve."""
    limits = [grant.at_once for grant in grants if grant.num_workers > 1]
    if runner.max_concurrent is not None:
        limits.append(runner.max_concurrent)
    return min(limits, default=None)


def pause_of(
    metrics: Mapping[str, Any], error: Exception | str | None, *, may_grow: bool
) -> Pause | None:
    """Return why a trial is open although its run is over; None if it has ended or was cut off."""
    if error is not None:
        # Main memory ran out, and Ray or the kernel killed this process.
        if may_grow and LOW_ON_MEMORY.search(str(error)):
            return Pause("memory", last_line(error))
        return None
    if "paused" not in metrics:
        return None
    return Pause(str(metrics["paused"]), str(metrics["reason"]))


def record_lost(trial: Path, error: Exception | str) -> None:
    """Record the failure of a trial whose process died too often to do so itself."""
    if read_outcome(trial) is None:
        record_failure(trial, f"its process died {MAX_RESTARTS + 1} times: {last_line(error)}")
        logger.error("trial=%s failed: %s", trial.name, error)


def last_line(error: Exception | str) -> str:
    """Return the last line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
