"""Trials that never get as far as a report, through a real Ray."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from strictune.config import expand, load_sweep
from strictune.launch.cluster import cluster_machines, ray_cluster
from strictune.launch.folder import open_sweep_folder
from strictune.launch.trials import MAX_RESTARTS, GrantedTrial, Runner, run_trials
from strictune.packing import Grant
from strictune.records import read_outcome

pytestmark = pytest.mark.ray

QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Take back the handlers that a sweep sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(
    tmp_path: Path, trainable: Callable[[Mapping[str, Any]], None], *, num_trials: int
) -> tuple[list[str], list[Path]]:
    """Run trials one at a time; returns why some are open, and all folders."""
    settings = ["matrix.thinking=[false]", "matrix.curriculum=[standard]", "contrasts=[]"]
    sweep = load_sweep(QUICKSTART, [*settings, f"matrix.seed={list(range(num_trials))}"])
    trials = expand(sweep)
    folder, _ = open_sweep_folder(tmp_path / "sweep", sweep, trials, is_resuming=False)
    with ray_cluster():
        machines = cluster_machines()
        whole = Grant(cpus=machines[0].cpus, at_once=1)
        runner = Runner(
            folder=folder,
            driver="test",
            machines=machines,
            step_timeout_s=None,
            max_concurrent=None,
            trainable=trainable,
        )
        granted = [GrantedTrial(trial.trial_id, whole) for trial in trials]
        left_open = run_trials(granted, runner)
    return left_open, [folder.trial(trial.trial_id) for trial in trials]


def test_a_trial_whose_process_never_answers_is_recorded_as_failed(tmp_path: Path) -> None:
    def die(config: Mapping[str, Any]) -> None:
        os._exit(1)

    left_open, [folder] = run(tmp_path, die, num_trials=1)
    assert left_open == []
    outcome = read_outcome(folder)
    assert outcome is not None
    assert outcome.state == "FAILED"
    assert str(outcome.reason).startswith(f"its process died {MAX_RESTARTS + 1} times: ")


def test_trials_that_waited_when_the_user_interrupts_are_left_open(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def wait(config: Mapping[str, Any]) -> None:
        import time

        begun.touch()
        time.sleep(60)

    def interrupt() -> None:
        while not begun.exists():
            ended.wait(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    ended = threading.Event()
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, wait, num_trials=3)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    folders = list((tmp_path / "sweep" / "trials").iterdir())
    assert [read_outcome(folder) for folder in folders] == [None] * 3
