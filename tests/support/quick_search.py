"""``strictune run`` with trials that train nothing: they sleep, and are worth their weights.

Everything else is real: Ray, Tune, Optuna, the folders and the studies. Run as a script, in a
process of its own that a test can kill.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from strictune.cli import main
from strictune.config import load_trial
from strictune.launch import search
from strictune.launch import sweep as matrix
from strictune.launch.trials import Runner
from strictune.records import read_outcome
from trainables.ray_trainable import Attempt
from trainables.records import TrialRecords, begin_attempt

STEP_S = 0.4


def pretend(config: Mapping[str, Attempt]) -> None:
    """Log one value, sleep through the steps, evaluate where that is due, and finish."""
    folder = Path(config["attempt"]["folder"])
    begin_attempt(folder, driver=config["attempt"]["driver"])
    if read_outcome(folder) is not None:
        return
    spec = load_trial(folder / "trial.yaml")
    records = TrialRecords(folder)
    value = spec.weights["schema"]
    for step in range(records.progress.step + 1, spec.grpo.max_steps + 1):
        time.sleep(STEP_S)
        records.log(step, {"reward/total/mean": value})
        records.commit(step=step, stage=0, checkpoint=None)
        if step in spec.interim_steps:
            tune.report({"interim_step": float(step), "interim/strict/pass_at_1": value})
            if (folder / "stop").exists():
                records.end("KILLED", (folder / "stop").read_text())
                break
    else:
        records.log(spec.grpo.max_steps, {"eval/strict/pass_at_1": value})
        records.commit(step=spec.grpo.max_steps, stage=1, checkpoint=None)
        records.end("FINISHED")
    tune.report({"done": 1.0})


def without_training(sweep: Any, folder: Any, *, driver: str) -> Runner:
    """Return the real runner with the pretended trainable."""
    return replace(matrix.runner_for(sweep, folder, driver=driver), trainable=pretend)


if __name__ == "__main__":
    search.runner_for = without_training
    for module in (search, matrix):
        module.measure_baselines = lambda *_, **__: []  # type: ignore[attr-defined]
    sys.exit(main(sys.argv[1:]))
