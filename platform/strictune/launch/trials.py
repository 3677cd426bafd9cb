"""The trials of a matrix under Ray Tune.

Tune places trials and starts them again when their process dies. What a trial is, how far it
got and how it ended is in its folder, so nothing of Tune's own state is needed to resume.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ray import tune

from strictune.launch.folder import SweepFolder
from trainables.ray_trainable import run_trial
from trainables.records import read_outcome, record_failure

__all__ = ["run_trials"]

logger = logging.getLogger(__name__)

MAX_RESTARTS = 3
"""Times that a trial whose process died is started again."""


def run_trials(
    trial_ids: Sequence[str],
    folder: SweepFolder,
    *,
    resources: Mapping[str, float],
    max_concurrent: int | None,
) -> None:
    """Run the trials to their ends; returns early when the user interrupts.

    A trial whose process died more often than ``MAX_RESTARTS`` is recorded as FAILED here,
    because it could not do so itself.
    """
    if not trial_ids:
        return
    # Tune's own reporting writes files into the user's home and tables to the terminal.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    folders = [str(folder.trial(trial_id)) for trial_id in trial_ids]
    tuner = tune.Tuner(
        tune.with_resources(run_trial, dict(resources)),
        param_space={"folder": tune.grid_search(folders)},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=max_concurrent,
            reuse_actors=False,
            trial_dirname_creator=lambda trial: Path(trial.config["folder"]).name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.path / "ray"),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            verbose=0,
        ),
    )
    for result in tuner.fit():
        if result.error is not None and result.config is not None:
            _record_failure(Path(result.config["folder"]), result.error)


def _record_failure(trial: Path, error: Exception) -> None:
    if read_outcome(trial) is None:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        record_failure(trial, f"its process died {MAX_RESTARTS + 1} times: {reason}")
        logger.error("trial=%s failed: %s", trial.name, error)
