"""Whole sweeps through the command line: the real stack on the tiny model, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
SMALL = {
    "trial.grpo.max_steps": 6,
    "trial.grpo.per_device_train_batch_size": 8,
    "trial.grpo.num_generations": 4,
    "trial.grpo.max_completion_length": 24,
    "trial.grpo.max_think_length": 8,
    "trial.checkpoint.save_steps": 2,
    "task.num_train_prompts": 60,
    "task.num_eval_prompts": 24,
    "evaluation.num_prompts_per_difficulty": 4,
    "evaluation.samples_per_prompt": 1,
    "evaluation.max_new_tokens": 24,
    "evaluation.max_think_tokens": 8,
}

pytestmark = pytest.mark.ray


def command(out: Path, *options: str, **settings: Any) -> list[str]:
    values = {**SMALL, **{key.replace("__", "."): value for key, value in settings.items()}}
    overrides = [text for item in values.items() for text in ("--set", "{}={}".format(*item))]
    verb = [sys.executable, "-m", "strictune", "run", str(QUICKSTART), "--out", str(out)]
    return [*verb, *overrides, *options]


def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment with caches of its own and no hub."""
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }


def run(tmp_path: Path, *options: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path / "runs", *options, **settings),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def start(tmp_path: Path, *options: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(tmp_path / "runs", *options, **settings),
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], *, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def trial_folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "runs" / "quickstart" / "trials").iterdir())


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def durable_step(folder: Path) -> int:
    path = folder / "progress.json"
    return int(read_json(path)["step"]) if path.exists() else 0


def training_steps(folder: Path) -> list[int]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "reward/total/mean" in line["metrics"]]


def mlflow_runs(tmp_path: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def check_complete(tmp_path: Path, *, num_trials: int) -> None:
    """Assert that all trials finished, each step exists once, and MLflow says the same."""
    folders = trial_folders(tmp_path)
    outcomes = [read_json(folder / "outcome.json")["state"] for folder in folders]
    assert outcomes == ["FINISHED"] * num_trials
    assert all(training_steps(folder) == [1, 2, 3, 4, 5, 6] for folder in folders)
    runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs} == {"FINISHED"}
    trials = [run for run in runs if run.data.tags.get("strictune.trial")]
    assert len(trials) == num_trials
    assert all("delta/strict/pass_at_1_pp" in run.data.metrics for run in trials)


def test_a_sweep_runs_to_its_verdicts(tmp_path: Path) -> None:
    done = run(tmp_path, "--only", "curriculum=three_stage")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 finished" in done.stdout
    assert "builtin:tiny shows that the path works" in done.stdout
    folders = [folder for folder in trial_folders(tmp_path) if (folder / "outcome.json").exists()]
    assert len(folders) == 2
    for folder in folders:
        assert training_steps(folder) == [1, 2, 3, 4, 5, 6]
        stages = sorted(path.name for path in (folder / "eval" / "stages").iterdir())
        assert stages == ["format_basics", "full_difficulty", "progressive"]
        adapters = {path.name for path in (folder / "adapter").iterdir() if path.is_dir()}
        assert adapters >= {"final", "best", "stage-format_basics", "stage-full_difficulty"}
        assert read_json(folder / "lock.json")["trial_id"] == folder.name
    # Thinking off and on are two baselines; both arms of a curriculum share one.
    assert len(list((tmp_path / "runs" / "quickstart" / "baselines").iterdir())) == 2
    runs = mlflow_runs(tmp_path)
    assert {found.info.status for found in runs} == {"FINISHED"}
    kinds = Counter(
        "baseline"
        if found.data.tags.get("strictune.baseline") and not found.data.tags.get("strictune.trial")
        else "trial"
        if found.data.tags.get("strictune.trial")
        else "sweep"
        for found in runs
    )
    assert kinds == {"sweep": 1, "baseline": 2, "trial": 2}

    again = run(tmp_path, "--only", "curriculum=three_stage")
    assert again.returncode == 2
    assert "holds a sweep already" in again.stderr
    assert "--resume" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_killed_trial_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    driver = start(
        tmp_path, matrix__thinking="[false]", matrix__curriculum="[standard]", contrasts="[]"
    )
    try:
        wait_for(lambda: driver.poll() is not None or any(trial_folders_or_none(tmp_path)))
        (folder,) = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or durable_step(folder) >= 2)
        assert not (folder / "outcome.json").exists()
        os.kill(read_json(folder / "lock.json")["pid"], signal.SIGKILL)
        output, _ = driver.communicate(timeout=300)
    finally:
        driver.kill()
    assert driver.returncode == 0, output
    check_complete(tmp_path, num_trials=1)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_an_interrupted_sweep_resumes(tmp_path: Path, sent: signal.Signals) -> None:
    settings = {"matrix__thinking": "[false]", "contrasts": "[curriculum]"}
    driver = start(tmp_path, **settings)
    try:
        wait_for(lambda: driver.poll() is not None or any(trial_folders_or_none(tmp_path)))
        folders = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or max(map(durable_step, folders)) >= 2)
        os.kill(driver.pid, sent)
        output, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 1, output
    assert "--resume" in output.splitlines()[-1]
    assert "RUNNING" not in {found.info.status for found in mlflow_runs(tmp_path)}

    done = run(tmp_path, "--resume", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    check_complete(tmp_path, num_trials=2)


def test_a_model_that_cannot_be_found_fails_its_trials_only(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        matrix__model="[no/such-model, builtin:tiny]",
        matrix__thinking="[false]",
        matrix__curriculum="[standard]",
        contrasts="[]",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    outcomes = {
        folder.name.split("-no-think")[0]: read_json(folder / "outcome.json")
        for folder in trial_folders(tmp_path)
    }
    states = sorted(outcome["state"] for outcome in outcomes.values())
    assert states == ["FAILED", "FINISHED"]
    (reason,) = [outcome["reason"] for outcome in outcomes.values() if outcome["reason"]]
    assert "'no/such-model' was not found" in reason
    assert "1 failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def trial_folders_or_none(tmp_path: Path) -> list[Path]:
    """Return the trials that a worker has begun."""
    folder = tmp_path / "runs" / "quickstart" / "trials"
    return list(folder.glob("*/lock.json"))
