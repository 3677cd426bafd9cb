"""Baselines of a sweep: each cell's untrained model, measured before its trials."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence

import ray

from strictune.config import TrialSpec
from strictune.launch.folder import SweepFolder
from strictune.records import Grant
from trainables.pulse import HANG_FILE, has_hung
from trainables.ray_trainable import measure_baseline_of

__all__ = ["measure_baselines"]

logger = logging.getLogger(__name__)


def measure_baselines(
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    grants: Mapping[str, Grant],
    step_timeout_s: float | None,
    say: Callable[[str], None],
) -> list[str]:
    """Measure every baseline that the trials need; cached ones cost a few seconds.

    One that cannot be measured is said and left out: its trials say why themselves.

    Args:
        trials: Whose baselines.
        folder: The sweep's.
        grants: What a process of each cell is granted, by the cell's name.
        step_timeout_s: A process that takes longer for a batch of completions ends itself.
        say: Tells the user of each that is measured or not.

    Returns:
        One message for each baseline that failed.
    """
    begun = time.time()
    pending = {}
    for trial in _one_for_each_baseline(trials):
        resources = grants[trial.cell].ray_resources()
        # In a process that ends with the task: an idle worker would keep its memory, also on the
        # GPU, for the whole sweep (Ray looks at the decorator's num_gpus alone).
        measure = ray.remote(max_calls=1)(measure_baseline_of).options(
            num_cpus=resources["cpu"],
            num_gpus=resources.get("gpu", 0),
            memory=resources.get("memory"),
            max_retries=1,
        )
        pending[trial.cell] = measure.remote(
            folder.trial(trial.trial_id), folder.baselines, step_timeout_s
        )
    say(f"baselines to measure: {len(pending)}; one that is cached takes seconds")
    failures = []
    for cell, reference in pending.items():
        try:
            logger.info("baseline=%s measured for %s", ray.get(reference), cell)
            say(f"measured the baseline of {cell}")
        except ray.exceptions.RayError as error:
            logger.warning("baseline of %s failed", cell, exc_info=error)
            cause = getattr(error, "cause", None) or error
            if isinstance(error, ray.exceptions.WorkerCrashedError) and has_hung(
                folder.baselines, since=begun
            ):
                cause = (
                    f"no sign of life for {step_timeout_s:g} s, twice; where it hung is in "
                    f"{folder.baselines / HANG_FILE}. Mend it, or raise resources.step_timeout_s."
                )
            failures.append(f"the baseline of {cell} could not be measured: {cause}")
            say(failures[-1])
    return failures


def _one_for_each_baseline(trials: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Return one trial for each set of settings that an untrained model depends on."""
    chosen: dict[str, TrialSpec] = {}
    for trial in trials:
        settings = trial.model_dump(
            mode="json",
            include={
                "model",
                "quantization",
                "dtype",
                "attn_implementation",
                "thinking",
                "rollouts",
                "evaluation",
            },
        )
        settings["task"] = trial.task.measure()
        chosen.setdefault(json.dumps(settings, sort_keys=True), trial)
    return list(chosen.values())
