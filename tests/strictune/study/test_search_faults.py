"""Whole searches through Ray and Optuna, whose trials sleep instead of training."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from processes import wait_for
from tiny_sweep import ROOT, environment, mlflow_runs, read_json

from strictune.launch.trials import MAX_RESTARTS
from strictune.records import read_attempts

pytestmark = pytest.mark.ray

SCRIPT = ROOT / "tests" / "support" / "quick_search.py"
NUM_POINTS = 6
SWEEP: dict[str, Any] = {
    "name": "quick",
    "task": {"kind": "strict_json"},
    "trial": {"model": "builtin:tiny", "grpo": {"max_steps": 4}},
    "search": {
        "num_trials": NUM_POINTS,
        "num_startup_trials": 3,
        "space": {"rewards": {"min_weight": 0.02}},
        "confirm": {"seeds": [7], "against": ["default"]},
    },
    "resources": {"gpus_per_trial": 1, "cpus_per_trial": 1},
}


def command(tmp_path: Path, *options: str, **search: Any) -> list[str]:
    file = tmp_path / "quick.yaml"
    file.write_text(yaml.safe_dump({**SWEEP, "search": SWEEP["search"] | search}))
    return [
        sys.executable,
        str(SCRIPT),
        "run",
        str(file),
        "--out",
        str(tmp_path / "runs"),
        *options,
    ]


def run(tmp_path: Path, *options: str, **search: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path, *options, **search),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def started(tmp_path: Path) -> subprocess.Popen[bytes]:
    """Start the search in a process group of its own."""
    return subprocess.Popen(
        command(tmp_path),
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def points(tmp_path: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'runs' / 'quick' / 'study.db'}")
    [name] = optuna.study.get_all_study_names(storage)
    return list(optuna.load_study(study_name=name, storage=storage).trials)


def check_whole(tmp_path: Path, *, num_points: int = NUM_POINTS) -> None:
    found = points(tmp_path)
    assert [trial.number for trial in found] == list(range(num_points))
    assert {trial.state for trial in found} == {TrialState.COMPLETE}
    ids = [trial_id for trial in found for trial_id in trial.user_attrs["trials"]]
    assert len(set(ids)) == num_points
    for trial, trial_id in zip(found, ids, strict=True):
        folder = tmp_path / "runs" / "quick" / "trials" / trial_id
        assert read_json(folder / "outcome.json")["state"] == "FINISHED"
        spec = yaml.safe_load((folder / "trial.yaml").read_text())
        assert trial.value == pytest.approx(spec["rewards_no_think"]["schema"])
    assert {run.info.status for run in mlflow_runs(tmp_path)} == {"FINISHED"}


@pytest.mark.slow
def test_a_search_whose_driver_is_killed_ends_with_each_point_once(tmp_path: Path) -> None:
    driver = started(tmp_path)
    try:
        done = tmp_path / "runs" / "quick" / "trials"
        wait_for(lambda: len(list(done.glob("*/outcome.json"))) >= 2)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    states = [trial.state for trial in points(tmp_path)]
    assert TrialState.RUNNING in states, "killed in the middle of a point"
    assert len(states) < NUM_POINTS

    resumed = run(tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    check_whole(tmp_path)

    longer = run(tmp_path, "--resume", "--trials", "+2")
    assert longer.returncode == 0, longer.stdout + longer.stderr
    check_whole(tmp_path, num_points=NUM_POINTS + 2)
    other = run(tmp_path, "--resume", sampler="random")
    assert other.returncode == 2
    assert "search.sampler (tpe -> random)" in other.stderr


@pytest.mark.slow
def test_a_point_whose_processes_died_before_the_interrupt_is_resumed(tmp_path: Path) -> None:
    """A signal to all processes of a sweep may reach its trials before its driver."""
    driver = started(tmp_path)
    sweep = tmp_path / "runs" / "quick"
    try:
        wait_for(lambda: any(sweep.glob("trials/*/attempts.jsonl")))
        (trial, *_) = (path.parent for path in sweep.glob("trials/*/attempts.jsonl"))
        for number in range(1, MAX_RESTARTS + 2):
            wait_for(lambda number=number: len(read_attempts(trial)) == number)
            os.kill(read_attempts(trial)[-1].pid, signal.SIGKILL)
        error = sweep / "ray" / "search" / trial.name / "error.txt"
        wait_for(lambda: f"Failure # {MAX_RESTARTS + 1} " in error.read_text())
        os.killpg(driver.pid, signal.SIGTERM)
        driver.wait(120)
    finally:
        driver.kill()
    assert not (trial / "outcome.json").exists()

    resumed = run(tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    check_whole(tmp_path)


def test_asha_stops_trials_and_keeps_their_values_apart(tmp_path: Path) -> None:
    scheduler = {"kind": "asha", "min_steps": 1, "reduction_factor": 2}
    done = run(tmp_path, scheduler=scheduler, confirm=None)
    assert done.returncode == 0, done.stdout + done.stderr
    found = points(tmp_path)
    stopped = [trial for trial in found if trial.state is TrialState.PRUNED]
    finished = [trial for trial in found if trial.state is TrialState.COMPLETE]
    assert len(stopped) + len(finished) == NUM_POINTS
    assert stopped
    assert finished
    studies = read_json(tmp_path / "runs" / "quick" / "studies.json")["studies"]
    [study] = studies
    by_number = {point["number"]: point for point in study["points"]}
    for trial in stopped:
        assert by_number[trial.number]["state"] == "stopped early"
        assert by_number[trial.number]["values"] is None
        [trial_id] = by_number[trial.number]["trials"]
        outcome = read_json(tmp_path / "runs" / "quick" / "trials" / trial_id / "outcome.json")
        assert outcome["state"] == "KILLED"
        assert outcome["reason"].startswith("stopped early by asha")
    best = max(finished, key=lambda trial: float(trial.value or 0))
    assert study["winner"] == best.number
