"""Ctrl-C and ``strictune stop``, without Ray: a tuner that treats signals as Ray Tune does."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError

from strictune.errors import BudgetError
from strictune.launch import driver, trials
from strictune.launch.driver import driving
from strictune.launch.folder import SweepFolder
from strictune.launch.trials import MAX_RESTARTS, GrantedTrial, Runner, fit, run_trials
from strictune.packing import Gpu, Machine
from strictune.records import Grant, read_outcome

QUARTER = Grant(cpus=1, gpus=0.25, at_once=4)


class FakeTuner:
    """Takes the first SIGINT for itself, as ``ray.tune.tune.run`` does."""

    def __init__(self, attempts: Sequence[Any], sent: signal.Signals | None) -> None:
        self.attempts, self.sent = attempts, sent

    def fit(self) -> list[SimpleNamespace]:
        handler = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, handler))
        if self.sent is not None:
            os.kill(os.getpid(), self.sent)
        first, *others = [attempt["folder"] for attempt in self.attempts]
        paused = {"paused": "memory", "reason": "out of memory"}
        return [
            SimpleNamespace(path=first, metrics=paused, error=None),
            *(SimpleNamespace(path=folder, metrics={}, error="died") for folder in others),
        ]


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Handle signals as a sweep does, see ``cluster.ray_cluster``."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sent: signal.Signals | None
) -> list[str]:
    """Run two trials, one of which runs out of memory; returns the names of Tune's runs."""
    names: list[str] = []

    def tuner_for(runner: Runner, *, name: str, attempts: Sequence[Any], **_: Any) -> FakeTuner:
        names.append(name)
        return FakeTuner(attempts, sent)

    monkeypatch.setattr(trials, "tuner_for", tuner_for)
    machine = Machine(cpus=8, memory_gib=32, gpus=1, gpu=Gpu(name="x", memory_gib=24))
    runner = Runner(
        folder=SweepFolder(tmp_path),
        driver="test",
        machines=[machine],
        step_timeout_s=None,
        max_concurrent=None,
    )
    for name in ("a", "b"):
        (tmp_path / "trials" / name).mkdir(parents=True)
    granted = [GrantedTrial(name, QUARTER) for name in ("a", "b")]
    if sent is None:
        assert run_trials(granted, runner) == ["out of memory"]
    else:
        with pytest.raises(KeyboardInterrupt):
            run_trials(granted, runner)
    return names


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_nothing_is_started_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    assert run_two(tmp_path, monkeypatch, sent=sent) == ["tune"]
    # A signal to every process kills trials too: what died then is resumed, not recorded as lost.
    assert [read_outcome(tmp_path / "trials" / name) for name in ("a", "b")] == [None, None]


def test_without_one_a_trial_out_of_memory_is_run_one_size_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_two(tmp_path, monkeypatch, sent=None) == ["tune", "tune-grown"]
    lost = read_outcome(tmp_path / "trials" / "b")
    assert lost is not None
    assert lost.reason == f"its process died {MAX_RESTARTS + 1} times: died"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_request_to_stop_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "STOP_POLL_S", 0.01)
    folder = SweepFolder(tmp_path)
    with driving(folder):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                folder.stop_request.touch()
                time.sleep(10)


class KilledTuner:
    """Ends as Tune does whose actor Ray's memory monitor kills while it starts."""

    def fit(self) -> None:
        try:
            raise OutOfMemoryError("1 worker(s) were killed, 22.7GB used / 23.5GB limit\nand more")
        except OutOfMemoryError as error:
            raise RuntimeError(f"Caught unexpected exception: {error}") from error


def test_a_process_that_ray_kills_for_memory_ends_the_sweep_in_one_line() -> None:
    with pytest.raises(BudgetError) as refused:
        fit(KilledTuner())  # type: ignore[arg-type]
    assert "22.7GB used / 23.5GB limit. What is not finished stays open." in str(refused.value)
    assert "\n" not in str(refused.value)
