import time
from pathlib import Path

import pytest
from watched_sweep import WatchedTrial

from strictune.watch.metrics import TAIL_BYTES, WINDOW, MetricsFile


@pytest.fixture
def trial(tmp_path: Path) -> WatchedTrial:
    return WatchedTrial(tmp_path / "t0")


def followed(trial: WatchedTrial) -> MetricsFile:
    return MetricsFile(trial.metrics_path, primary_rung="strict")


def steps(metrics: MetricsFile) -> list[int]:
    return [logged.step for logged in metrics.steps]


def read_bytes_of(metrics: MetricsFile, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many bytes of lines a look takes in."""
    taken = []
    monkeypatch.setattr(
        metrics, "_take", lambda line, take=metrics._take: taken.append(len(line)) or take(line)
    )
    metrics.look()
    return sum(taken)


def test_a_trial_without_a_file_has_done_nothing(trial: WatchedTrial) -> None:
    metrics = followed(trial)
    metrics.look()
    assert (metrics.last_step, metrics.last_time, list(metrics.steps)) == (0, None, [])
    assert metrics.search_backlog()


def test_a_second_look_reads_only_what_is_new(
    trial: WatchedTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = followed(trial)
    trial.train(1, 8)
    metrics.look()
    size = trial.metrics_path.stat().st_size
    trial.train(9, 9)
    added = trial.metrics_path.stat().st_size - size
    assert read_bytes_of(metrics, monkeypatch) == added
    assert read_bytes_of(metrics, monkeypatch) == 0
    assert steps(metrics) == list(range(1, 10))


def test_only_the_last_steps_are_kept(trial: WatchedTrial) -> None:
    metrics = followed(trial)
    trial.train(1, 30)
    metrics.look()
    assert steps(metrics) == list(range(30 - WINDOW, 31))


def test_a_half_written_line_is_read_once_it_is_whole(trial: WatchedTrial) -> None:
    metrics = followed(trial)
    trial.train(1, 3)
    whole = trial.metrics_path.read_bytes()
    for cut in (1, 5, 40):
        trial.metrics_path.write_bytes(whole[:-cut])
        metrics.look()
        assert metrics.last_step == 2
    trial.metrics_path.write_bytes(whole)
    metrics.look()
    assert steps(metrics) == [1, 2, 3]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"no json", id="text"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="empty"),
        pytest.param(b'{"step": 2, "time": 1, "metrics": null}', id="no-metrics"),
        pytest.param(b'{"step": "x", "time": 1, "metrics": {}}', id="no-number"),
        pytest.param(b"\xff\xfe", id="no-text"),
    ],
)
def test_a_line_that_is_no_record_is_passed_over(trial: WatchedTrial, line: bytes) -> None:
    metrics = followed(trial)
    trial.train(1, 1)
    with trial.metrics_path.open("ab") as lines:
        lines.write(line + b"\n")
    trial.train(2, 2)
    metrics.look()
    assert steps(metrics) == [1, 2]


def test_a_file_that_was_cut_back_is_read_afresh(trial: WatchedTrial) -> None:
    metrics = followed(trial)
    trial.train(1, 4)
    size = trial.metrics_path.stat().st_size
    trial.train(5, 10)
    trial.evaluate(10, 0.5)
    metrics.look()
    assert metrics.num_evaluations == 1
    trial.roll_back(size)
    metrics.look()
    assert metrics.last_step == 4
    assert metrics.held_out == []
    assert metrics.num_evaluations == 0


def test_a_file_that_was_cut_back_and_grew_past_its_old_size_is_read_afresh(
    trial: WatchedTrial,
) -> None:
    metrics = followed(trial)
    trial.train(1, 4)
    size = trial.metrics_path.stat().st_size
    trial.evaluate(5, 0.9)
    metrics.look()
    trial.roll_back(size)
    trial.train(5, 9, **{"train/other": 1.0})
    metrics.look()
    assert steps(metrics) == list(range(1, 10))
    assert metrics.held_out == []


def test_a_file_that_is_gone_is_forgotten(trial: WatchedTrial) -> None:
    metrics = followed(trial)
    trial.train(1, 4)
    metrics.look()
    trial.metrics_path.unlink()
    metrics.look()
    assert (metrics.last_step, metrics.last_time) == (0, None)


def long_file(trial: WatchedTrial) -> list[float]:
    """Write a file much longer than what a first look reads; return its held-out rates."""
    rates = [0.1, 0.2, 0.3, 0.4]
    for index, rate in enumerate(rates):
        trial.train(200 * index + 1, 200 * index + 200)
        trial.evaluate(200 * index + 200, rate)
    assert trial.metrics_path.stat().st_size > 3 * TAIL_BYTES
    return rates


def test_a_first_look_reads_the_end_of_a_long_file(
    trial: WatchedTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_file(trial)
    metrics = followed(trial)
    assert read_bytes_of(metrics, monkeypatch) <= TAIL_BYTES
    assert metrics.last_step == 800
    assert len(metrics.steps) == WINDOW + 1


@pytest.mark.parametrize("chunk", [100, 1000, 1 << 20])
def test_earlier_evaluations_are_found_in_order(
    trial: WatchedTrial, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("strictune.watch.metrics.CHUNK_BYTES", chunk)
    rates = long_file(trial)
    metrics = followed(trial)
    metrics.look()
    assert [found.frac for found in metrics.held_out] == rates[-1:]
    assert metrics.search_backlog()
    assert [found.frac for found in metrics.held_out] == rates
    trial.evaluate(900, 0.5)
    metrics.look()
    assert metrics.search_backlog()
    assert [found.frac for found in metrics.held_out] == [*rates, 0.5]


def test_the_search_stops_at_its_deadline_and_goes_on_later(
    trial: WatchedTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strictune.watch.metrics.CHUNK_BYTES", 1000)
    rates = long_file(trial)
    metrics = followed(trial)
    metrics.look()
    assert not metrics.search_backlog(deadline=time.monotonic() - 1)
    assert [found.frac for found in metrics.held_out] == rates[-1:]
    assert metrics.search_backlog()
    assert [found.frac for found in metrics.held_out] == rates


def test_a_file_cut_back_during_the_search_is_no_error(trial: WatchedTrial) -> None:
    long_file(trial)
    metrics = followed(trial)
    metrics.look()
    trial.roll_back(1000)
    assert not metrics.search_backlog()
    metrics.look()
    assert metrics.search_backlog()
    assert 0 < metrics.last_step < 800


def test_evaluations_of_other_rungs_and_splits_are_not_held_out_rates(trial: WatchedTrial) -> None:
    metrics = followed(trial)
    trial.train(1, 2)
    trial.log(2, {"eval/simple/strict/pass_at_1": 1.0, "eval/parsed/pass_at_1": 1.0})
    trial.log(2, {"final/strict/pass_at_1": 1.0, "time/final_s": 9.0})
    metrics.look()
    assert metrics.held_out == []
    assert metrics.num_evaluations == 2
