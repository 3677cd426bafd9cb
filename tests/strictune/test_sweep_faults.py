"""Whole sweeps in which something is broken for real: trials, the driver, a machine, a disk."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
    mlflow_runs,
    read_json,
    run_sweep,
    start_sweep,
    trial_folders,
)
from two_nodes import two_nodes

pytestmark = pytest.mark.ray

TWO_TRIALS = {"matrix__thinking": "[false]", "contrasts": "[curriculum]"}
BROKEN_TRIALS = ROOT / "tests" / "support" / "broken_trials"


def attempts(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]


def stop(tmp_path: Path, *trial: str) -> subprocess.CompletedProcess[str]:
    folder = str(tmp_path / "runs" / "quickstart")
    return subprocess.run(
        [sys.executable, "-m", "strictune", "stop", folder, *trial],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.slow
def test_trials_that_raise_or_hang_or_reward_nan_leave_the_others_alone(
    tmp_path: Path, record_property: Record
) -> None:
    faults = {1: "raise", 2: "nan", 3: "hang"}
    env = environment(tmp_path)
    done = subprocess.run(
        command(
            tmp_path / "runs",
            matrix__thinking="[false]",
            matrix__curriculum="[standard]",
            matrix__seed="[0, 1, 2, 3]",
            contrasts="[]",
            trial__grpo__max_steps=3,
            resources__step_timeout_s=45,
        ),
        env={
            **env,
            "BROKEN_TRIALS": json.dumps(faults),
            "PYTHONPATH": os.pathsep.join([str(BROKEN_TRIALS), env["PYTHONPATH"]]),
        },
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    by_seed = {
        int(folder.name.rpartition("-s")[2].partition("-")[0]): folder
        for folder in trial_folders(tmp_path)
    }
    outcomes = {seed: read_json(folder / "outcome.json") for seed, folder in by_seed.items()}
    states = [outcomes[seed]["state"] for seed in range(4)]
    assert states == ["FINISHED", "FAILED", "FAILED", "FINISHED"], outcomes
    assert outcomes[1]["reason"] == "RuntimeError: the scorer broke"
    assert "reward component format is nan" in outcomes[2]["reason"]
    assert [attempt["why"] for attempt in attempts(by_seed[3])] == [None, "it hung"]
    hangs = by_seed[3] / "hangs.txt"
    assert "in broken" in hangs.read_text()
    # Written once the 45 s without a sign of life are over.
    note_recovery(record_property, by_seed[3], since=hangs.stat().st_mtime)
    statuses = {found.info.status for found in mlflow_runs(tmp_path)}
    assert statuses == {"FINISHED", "FAILED"}
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_killed_driver_leaves_a_sweep_that_resumes(
    tmp_path: Path, record_property: Record
) -> None:
    settings = {**TWO_TRIALS, "resources__max_concurrent_trials": 1}
    driver = start_sweep(tmp_path, **settings)
    try:
        wait_for(lambda: driver.poll() is not None or len(begun_trials(tmp_path)) == 2)
        (finished,) = [f for f in trial_folders(tmp_path) if (f / "outcome.json").exists()]
        (running,) = [f for f in trial_folders(tmp_path) if f != finished]
        wait_for(lambda: driver.poll() is not None or durable_step(running) >= 2)
        assert driver.poll() is None
        os.kill(driver.pid, signal.SIGKILL)
    finally:
        driver.kill()
        driver.communicate()
    before = (finished / "outcome.json").read_bytes()
    resumed = time.time()
    done = run_sweep(tmp_path, "--resume", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    check_complete(tmp_path, num_trials=2)
    assert (finished / "outcome.json").read_bytes() == before
    assert len(attempts(finished)) == 1
    assert [attempt["why"] for attempt in attempts(running)] == [None, "resumed"]
    assert attempts(running)[1]["step"] >= 2
    note_recovery(record_property, running, since=resumed)


@pytest.mark.slow
def test_trials_of_a_lost_machine_go_on_elsewhere(tmp_path: Path, record_property: Record) -> None:
    with two_nodes() as cluster:
        driver = subprocess.Popen(
            command(tmp_path / "runs", **TWO_TRIALS),
            env={**environment(tmp_path), **cluster.driver_environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            wait_for(
                lambda: (
                    driver.poll() is not None
                    or (
                        len(begun_trials(tmp_path)) == 2
                        and min(map(durable_step, trial_folders(tmp_path))) >= 2
                    )
                )
            )
            assert driver.poll() is None, driver.communicate()[0]
            cluster.nodes[1].lose()
            lost = time.time()
            output, _ = driver.communicate(timeout=400)
        finally:
            driver.kill()
    assert driver.returncode == 0, output
    check_complete(tmp_path, num_trials=2)
    starts = sorted(len(attempts(folder)) for folder in trial_folders(tmp_path))
    assert starts == [1, 2]
    (moved,) = [folder for folder in trial_folders(tmp_path) if len(attempts(folder)) == 2]
    assert attempts(moved)[1]["why"] == "its process died"
    assert attempts(moved)[1]["step"] >= 2
    note_recovery(record_property, moved, since=lost)


@pytest.mark.slow
def test_a_trial_and_then_the_sweep_are_stopped_and_run_again(tmp_path: Path) -> None:
    driver = start_sweep(tmp_path, **TWO_TRIALS)
    try:
        wait_for(lambda: driver.poll() is not None or len(begun_trials(tmp_path)) == 2)
        first, second = trial_folders(tmp_path)
        again = run_sweep(tmp_path, "--resume", **TWO_TRIALS)
        assert again.returncode == 2
        assert f"is being run by process {driver.pid}" in again.stderr
        one = stop(tmp_path, first.name)
        assert one.returncode == 0, one.stdout + one.stderr
        assert read_json(first / "outcome.json")["state"] == "KILLED"
        assert "stopped by its user" in one.stdout
        assert not (second / "outcome.json").exists()
        whole = stop(tmp_path)
        assert whole.returncode == 0, whole.stdout + whole.stderr
        output, _ = driver.communicate(timeout=60)
    finally:
        driver.kill()
    assert driver.returncode == 1, output
    assert {found.info.status for found in mlflow_runs(tmp_path)} == {"KILLED", "FINISHED"}
    nobody = stop(tmp_path)
    assert nobody.returncode == 2
    assert "not running (no driver process)" in nobody.stderr

    done = run_sweep(tmp_path, "--resume", "--retry", **TWO_TRIALS)
    assert done.returncode == 0, done.stdout + done.stderr
    check_complete(tmp_path, num_trials=2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 24 MiB; only root may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_a_trial_open_until_there_is_room(
    tmp_path: Path, small_disk: Path, record_property: Record
) -> None:
    one_trial = {**TWO_TRIALS, "matrix__curriculum": "[standard]", "contrasts": "[]"}
    driver = start_sweep(tmp_path, **one_trial)
    try:
        wait_for(lambda: driver.poll() is not None or bool(begun_trials(tmp_path)))
        (trial,) = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or durable_step(trial) >= 2)
        stop(tmp_path)
        driver.communicate(timeout=60)
    finally:
        driver.kill()
    shutil.copytree(trial, small_disk / trial.name)
    shutil.rmtree(trial)
    trial.symlink_to(small_disk / trial.name)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))

    full = run_sweep(tmp_path, "--resume", **one_trial)
    assert full.returncode == 1, full.stdout + full.stderr
    assert "left open: no space is left on the disk" in full.stdout
    assert "Traceback" not in full.stdout + full.stderr
    assert not (trial / "outcome.json").exists()

    ballast.unlink()
    freed = time.time()
    done = run_sweep(tmp_path, "--resume", **one_trial)
    assert done.returncode == 0, done.stdout + done.stderr
    check_complete(tmp_path, num_trials=1)
    note_recovery(record_property, trial, since=freed)
