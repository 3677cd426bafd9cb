"""Whole sweeps through the command line, small enough for a test: the quickstart, cut down.

Results and the MLflow store lie below a test's own folder. The caches are the session's, so that
baselines are measured once, unless a test names its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from quickstart import CROSSED, QUICKSTART

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    **dict(text.split("=", 1) for text in CROSSED),
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


def command(out: Path, *options: str, **settings: Any) -> list[str]:
    values = {**SMALL, **{key.replace("__", "."): value for key, value in settings.items()}}
    overrides = [text for item in values.items() for text in ("--set", "{}={}".format(*item))]
    verb = [sys.executable, "-m", "strictune", "run", str(QUICKSTART), "--out", str(out)]
    return [*verb, *overrides, *options]


def environment(tmp_path: Path, *, cache: Path | None = None) -> dict[str, str]:
    """Return an environment with the session's caches, or others, and no hub."""
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(cache or tmp_path.parent / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }


def run_sweep(
    tmp_path: Path, *options: str, cache: Path | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path / "runs", *options, **settings),
        env=environment(tmp_path, cache=cache),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def start_sweep(tmp_path: Path, *options: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(tmp_path / "runs", *options, **settings),
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


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


def begun_trials(tmp_path: Path) -> list[Path]:
    """Return the trials that a worker has begun."""
    folder = tmp_path / "runs" / "quickstart" / "trials"
    return list(folder.glob("*/lock.json"))
