"""Seconds that Ray, Tune, the records and the mirror add to a trial: 32 trials that do nothing.

Run by hand: ``python tests/bench/bench_overhead.py [trials]``. Each trial has a process of its
own, as real ones do, and writes what a real one writes, but loads no model and not even torch.
The clock starts when Ray has started and stops when the last trial has ended; the mirror, which
copies them into an MLflow store meanwhile, is timed apart from there on.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from ray import tune

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from strictune.config import expand, load_sweep  # noqa: E402
from strictune.launch.cluster import cluster_machines, ray_cluster  # noqa: E402
from strictune.launch.folder import open_sweep_folder  # noqa: E402
from strictune.launch.progress import reporting  # noqa: E402
from strictune.launch.trials import GrantedTrial, Runner, run_trials  # noqa: E402
from strictune.packing import grant_trial  # noqa: E402
from strictune.tracking import Mirror, MirrorThread  # noqa: E402
from trainables.ray_trainable import Attempt  # noqa: E402
from trainables.records import TrialRecords, begin_attempt  # noqa: E402

QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
PROGRESS_EVERY_S = 15.0
AIM_S = 3.0


def do_nothing(config: Mapping[str, Attempt]) -> None:
    """Stand in for ``run_trial``: one step on record, and the end."""
    attempt = config["attempt"]
    folder = Path(attempt["folder"])
    begin_attempt(folder, driver=attempt["driver"])
    records = TrialRecords(folder)
    records.log(1, {"reward/total/mean": 0.5, "time/step_s": 0.0})
    records.commit(step=1, stage=0, checkpoint=None)
    tune.report({"step": 1})
    outcome = records.end("FINISHED")
    tune.report({"step": outcome.steps, "state": outcome.state})


def main() -> None:
    num_trials = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    sweep = load_sweep(
        QUICKSTART,
        [
            f"matrix.seed={list(range(num_trials))}",
            "matrix.thinking=[false]",
            "matrix.curriculum=[standard]",
            "contrasts=[]",
        ],
    )
    trials = expand(sweep)
    with tempfile.TemporaryDirectory(prefix="strictune-bench-") as work:
        folder, _ = open_sweep_folder(Path(work) / "bench", sweep, trials, is_resuming=False)
        mirror = MirrorThread(Mirror(folder.path, f"sqlite:///{work}/mlflow.db"))
        mirror.start()
        began = time.monotonic()
        with ray_cluster():
            machines = cluster_machines()
            grant = grant_trial(
                sweep.resources, machines, peak=None, num_wanted=num_trials, cell=trials[0].cell
            )
            runner = Runner(
                folder=folder,
                driver="bench",
                machines=machines,
                step_timeout_s=None,
                max_concurrent=None,
                trainable=do_nothing,
            )
            started = time.monotonic()
            granted = [GrantedTrial(trial.trial_id, grant) for trial in trials]
            with reporting(
                folder,
                primary_criterion=sweep.task.primary_criterion,
                only=[trial.trial_id for trial in trials],
                say=lambda line: None,
                every_s=PROGRESS_EVERY_S,
            ):
                run_trials(granted, runner)
            ended = time.monotonic()
        closing = time.monotonic()
        is_delivered = mirror.stop("FINISHED")
        mirrored = time.monotonic()
        states = [(folder.outcome(trial.trial_id) or {}).get("state") for trial in trials]
    assert states == ["FINISHED"] * num_trials, states
    assert is_delivered
    seconds = ended - started
    print(
        f"{num_trials} trials, {grant.at_once} at once: {seconds:.1f} s, "
        f"{seconds / num_trials:.2f} s a trial (aim {AIM_S:g}); Ray started in "
        f"{started - began:.1f} s, the mirror ended {mirrored - closing:.1f} s after Ray"
    )


if __name__ == "__main__":
    main()
