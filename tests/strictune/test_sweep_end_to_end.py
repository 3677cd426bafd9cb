"""Whole sweeps through the command line: the real stack on the tiny model, killed and resumed."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from processes import wait_for
from recovery import Record, note_recovery
from tiny_sweep import (
    begun_trials,
    check_complete,
    durable_step,
    mlflow_runs,
    read_json,
    run_sweep,
    start_sweep,
    training_steps,
    trial_folders,
)

from trainables.builtin import BUILTIN_MODELS

pytestmark = pytest.mark.ray


def test_a_sweep_runs_to_its_verdicts(tmp_path: Path) -> None:
    done = run_sweep(tmp_path, "--only", "curriculum=three_stage")
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
    assert len(list((tmp_path / "runs" / "quickstart" / "baselines").glob("*/"))) == 2
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
    assert Counter(len(found.inputs.dataset_inputs) for found in runs) == {0: 1, 1: 2, 2: 2}
    with_model = [found for found in runs if found.outputs and found.outputs.model_outputs]
    assert {found.data.tags["strictune.trial"] for found in with_model} == {
        folder.name for folder in folders
    }

    again = run_sweep(tmp_path, "--only", "curriculum=three_stage")
    assert again.returncode == 2
    assert "holds a sweep already" in again.stderr
    assert "--resume" in again.stderr
    assert "Traceback" not in again.stderr


def test_a_killed_trial_comes_back_from_its_checkpoint(
    tmp_path: Path, record_property: Record
) -> None:
    driver = start_sweep(
        tmp_path, matrix__thinking="[false]", matrix__curriculum="[standard]", contrasts="[]"
    )
    try:
        wait_for(lambda: driver.poll() is not None or any(begun_trials(tmp_path)))
        (folder,) = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or durable_step(folder) >= 2)
        assert not (folder / "outcome.json").exists()
        os.kill(read_json(folder / "lock.json")["pid"], signal.SIGKILL)
        killed = time.time()
        output, _ = driver.communicate(timeout=300)
    finally:
        driver.kill()
    assert driver.returncode == 0, output
    check_complete(tmp_path, num_trials=1)
    note_recovery(record_property, folder, since=killed)


def signal_group(driver: int, sent: signal.Signals) -> None:
    """As a terminal, a shell, ``timeout`` or Slurm does."""
    os.killpg(driver, sent)


def signal_all(driver: int, sent: signal.Signals) -> None:
    """As systemd does with all processes of a service, Ray's workers included."""
    processes = [psutil.Process(driver), *psutil.Process(driver).children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(sent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "sent"),
    [
        pytest.param(signal_all, signal.SIGTERM, id="terminated"),
        pytest.param(signal_group, signal.SIGTERM, id="group-terminated"),
        pytest.param(signal_group, signal.SIGINT, id="ctrl-c"),
        pytest.param(signal_group, signal.SIGHUP, id="terminal-closed"),
    ],
)
def test_an_interrupted_sweep_resumes(
    tmp_path: Path,
    send: Callable[[int, signal.Signals], None],
    sent: signal.Signals,
    record_property: Record,
) -> None:
    settings = {"matrix__thinking": "[false]", "contrasts": "[curriculum]"}
    driver = start_sweep(tmp_path, **settings)
    try:
        wait_for(lambda: driver.poll() is not None or any(begun_trials(tmp_path)))
        folders = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or max(map(durable_step, folders)) >= 2)
        send(driver.pid, sent)
        interrupted = time.time()
        output, _ = driver.communicate(timeout=120)
        record_property("stopped_s", round(time.time() - interrupted, 1))
    finally:
        driver.kill()
    assert driver.returncode == 1, output
    assert "--resume" in output.splitlines()[-1]
    assert not (tmp_path / "runs" / "quickstart" / "driver.json").exists()
    assert "RUNNING" not in {found.info.status for found in mlflow_runs(tmp_path)}

    still_open = [folder for folder in folders if not (folder / "outcome.json").exists()]
    furthest = max(still_open, key=durable_step)
    resumed = time.time()
    done = run_sweep(tmp_path, "--resume", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    check_complete(tmp_path, num_trials=2)
    note_recovery(record_property, furthest, since=resumed)


@pytest.mark.slow
def test_a_model_that_cannot_be_found_fails_its_trials_only(tmp_path: Path) -> None:
    found = os.path.relpath(BUILTIN_MODELS["builtin:tiny"].folder)
    done = run_sweep(
        tmp_path,
        matrix__model=f"[no/such-model, {found}]",
        trial__grpo__max_steps=2,
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
