"""A whole sweep whose tracking server goes away: for half a minute, and for good."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow_server import Server
from processes import wait_for
from recovery import Record
from tiny_sweep import (
    begun_trials,
    durable_step,
    environment,
    start_sweep,
    training_steps,
    trial_folders,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

AWAY_S = 30.0
SAVE_STEPS = 5
NUM_STEPS = 40
"""Enough to outlast the outage and the server's start."""
ONE_TRIAL: dict[str, object] = {
    "matrix__thinking": "[false]",
    "matrix__curriculum": "[standard]",
    "contrasts": "[]",
    "trial__checkpoint__save_steps": SAVE_STEPS,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def start_and_lose(tmp_path: Path, server: Server, *, num_steps: int) -> subprocess.Popen[str]:
    """Start a sweep, and kill its tracking server once a checkpoint is there."""
    settings = ONE_TRIAL | {"trial__grpo__max_steps": num_steps}
    driver = start_sweep(tmp_path, "--tracking-uri", server.uri, **settings)
    try:
        wait_for(lambda: driver.poll() is not None or any(begun_trials(tmp_path)))
        (trial,) = trial_folders(tmp_path)
        wait_for(lambda: driver.poll() is not None or durable_step(trial) >= SAVE_STEPS)
        assert driver.poll() is None, driver.communicate()[0]
    except BaseException:
        driver.kill()
        raise
    server.kill()
    return driver


def check_stored(server: Server, *, num_steps: int) -> None:
    """Assert that the store holds every run, ended, and each training step once."""
    client = MlflowClient(server.uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs: list[Run] = list(client.search_runs(experiments))
    assert {run.info.status for run in runs} == {"FINISHED"}
    (trial,) = [run for run in runs if run.data.tags.get("strictune.trial")]
    points = client.get_metric_history(trial.info.run_id, "reward/total/mean")
    assert sorted(point.step for point in points) == list(range(1, num_steps + 1))


def test_a_server_that_is_away_for_half_a_minute_misses_nothing(
    tmp_path: Path, server: Server, record_property: Record
) -> None:
    driver = start_and_lose(tmp_path, server, num_steps=NUM_STEPS)
    try:
        time.sleep(AWAY_S)
        server.start()
        back = time.time()
        output, _ = driver.communicate(timeout=240)
    finally:
        driver.kill()
    assert driver.returncode == 0, output
    assert "MLflow did not get everything" not in output
    assert "Traceback" not in output
    check_stored(server, num_steps=NUM_STEPS)
    record_property("sweep_ended_after_return_s", round(time.time() - back, 1))


def test_a_server_that_stays_away_leaves_a_sweep_that_is_replayed(
    tmp_path: Path, server: Server, record_property: Record
) -> None:
    driver = start_and_lose(tmp_path, server, num_steps=2 * SAVE_STEPS)
    try:
        output, _ = driver.communicate(timeout=300)
    finally:
        driver.kill()
    assert driver.returncode == 0, output
    (trial,) = trial_folders(tmp_path)
    assert len(training_steps(trial)) == 2 * SAVE_STEPS
    folder = tmp_path / "runs" / "quickstart"
    assert f"later: strictune track replay {folder}" in output
    assert "Traceback" not in output

    server.start()
    replayed = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "strictune", "track", "replay", str(folder)],
        env={**environment(tmp_path), "MLFLOW_TRACKING_URI": server.uri},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_stored(server, num_steps=2 * SAVE_STEPS)
    record_property("replay_s", round(time.time() - replayed, 1))
