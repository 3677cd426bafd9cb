"""Whole sweeps whose trials have two workers on two cores: losses, failures, interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from processes import wait_for
from recovery import Record, note_recovery
from tiny_sweep import (
    ROOT,
    begun_trials,
    check_complete,
    command,
    durable_step,
    environment,
    read_json,
    start_sweep,
    trial_folders,
)
from two_nodes import two_nodes

pytestmark = pytest.mark.ray

TWO_WORKERS: dict[str, Any] = {
    "trial__distributed__num_workers": 2,
    "matrix__thinking": "[false]",
    "matrix__curriculum": "[standard]",
    "contrasts": "[]",
}
BROKEN_TRIALS = ROOT / "tests" / "support" / "broken_trials"


def attempts(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]


def workers(folder: Path) -> dict[str, psutil.Process]:
    """Return the processes of the trial's ranks: the first one says who it is."""
    first = psutil.Process(read_json(folder / "lock.json")["pid"])
    alike = [
        process
        for process in psutil.Process(first.ppid()).children()
        if "RayTrainWorker" in " ".join(process.cmdline()) and process.pid != first.pid
    ]
    (second,) = alike
    return {"first": first, "second": second}


def check_rewards(folder: Path) -> None:
    """Assert that each step has every completion of both workers once, in whole groups."""
    rows = pd.concat(pd.read_parquet(part) for part in (folder / "rewards").glob("part-*"))
    groups = rows.groupby(["step", "group"])
    assert sorted(set(rows["step"])) == [1, 2, 3, 4, 5, 6]
    assert set(groups.size()) == {4}
    assert set(groups["prompt_id"].nunique()) == {1}
    assert list(rows.groupby("step").size()) == [16] * 6


@pytest.mark.slow
def test_a_trial_goes_on_when_one_of_its_workers_is_killed(
    tmp_path: Path, record_property: Record
) -> None:
    driver = start_sweep(tmp_path, **TWO_WORKERS)
    try:
        wait_for(lambda: driver.poll() is not None or bool(begun_trials(tmp_path)))
        (trial,) = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or durable_step(trial) >= 2)
        assert driver.poll() is None, driver.communicate()[0]
        workers(trial)["second"].kill()
        killed = time.time()
        output, _ = driver.communicate(timeout=300)
    finally:
        driver.kill()
    assert driver.returncode == 0, output
    check_complete(tmp_path, num_trials=1)
    check_rewards(trial)
    assert [attempt["why"] for attempt in attempts(trial)] == [None, "its process died"]
    assert attempts(trial)[1]["step"] in (2, 4)
    assert "a trial has 2" in output
    note_recovery(record_property, trial, since=killed)


@pytest.mark.slow
def test_workers_of_one_trial_may_be_on_two_machines(tmp_path: Path) -> None:
    with two_nodes() as cluster:
        done = subprocess.run(
            command(tmp_path / "runs", **TWO_WORKERS),
            env={**environment(tmp_path), **cluster.driver_environment()},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    check_complete(tmp_path, num_trials=1)
    check_rewards(*trial_folders(tmp_path))


def broken_environment(tmp_path: Path, faults: dict[int, str], *, rank: int) -> dict[str, str]:
    env = environment(tmp_path)
    return {
        **env,
        "BROKEN_TRIALS": json.dumps(faults),
        "BROKEN_RANK": str(rank),
        "PYTHONPATH": os.pathsep.join([str(BROKEN_TRIALS), env["PYTHONPATH"]]),
    }


@pytest.mark.slow
def test_a_second_worker_that_fails_or_hangs_is_heard(tmp_path: Path) -> None:
    settings = TWO_WORKERS | {"matrix__seed": "[1, 2]", "resources__step_timeout_s": 60}
    done = subprocess.run(
        command(tmp_path / "runs", **settings),
        env=broken_environment(tmp_path, {1: "raise", 2: "hang"}, rank=1),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    raised, hung = trial_folders(tmp_path)
    outcome = read_json(raised / "outcome.json")
    assert (outcome["state"], outcome["reason"]) == ("FAILED", "RuntimeError: the scorer broke")
    assert len(attempts(raised)) == 1
    assert read_json(hung / "outcome.json")["state"] == "FINISHED"
    assert [attempt["why"] for attempt in attempts(hung)] == [None, "it hung"]
    check_rewards(hung)


@pytest.mark.slow
def test_a_first_worker_that_fails_ends_the_others(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "runs", **TWO_WORKERS),
        env=broken_environment(tmp_path, {0: "nan"}, rank=0),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (trial,) = trial_folders(tmp_path)
    assert "reward component format is nan" in read_json(trial / "outcome.json")["reason"]
    assert len(attempts(trial)) == 1


@pytest.mark.slow
def test_workers_end_with_a_stopped_trial_and_an_interrupted_sweep(tmp_path: Path) -> None:
    settings = TWO_WORKERS | {"trial__grpo__max_steps": 200}
    driver = start_sweep(tmp_path, **settings)
    try:
        wait_for(lambda: driver.poll() is not None or bool(begun_trials(tmp_path)))
        (trial,) = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or durable_step(trial) >= 2)
        assert driver.poll() is None, driver.communicate()[0]
        ranks = workers(trial)
        os.kill(driver.pid, signal.SIGINT)
        output, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 1, output
    assert not (trial / "outcome.json").exists()
    psutil.wait_procs(ranks.values(), timeout=20)
    assert not any(process.is_running() for process in ranks.values())

    before = durable_step(trial)
    driver = start_sweep(tmp_path, "--resume", **settings)
    try:
        wait_for(lambda: driver.poll() is not None or durable_step(trial) > before)
        stopped = subprocess.run(
            [sys.executable, "-m", "strictune", "stop", str(trial.parents[1]), trial.name],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        output, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert read_json(trial / "outcome.json")["state"] == "KILLED"
    assert [attempt["why"] for attempt in attempts(trial)] == [None, "resumed"]
