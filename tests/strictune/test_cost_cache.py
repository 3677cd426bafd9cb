import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from cost_fakes import a_cost, a_probe, trials_of

from strictune.config import dump_yaml
from strictune.cost_cache import (
    HEAP_GROWTH,
    MAX_TRIALS,
    CostCache,
    KnownCosts,
    read_trial_cost,
)
from strictune.packing import Peak
from trainables.devices import cpu_name

CPU = cpu_name()


@pytest.fixture
def cache(tmp_path: Path) -> CostCache:
    return CostCache(tmp_path / "costs")


def test_a_shape_that_never_ran_is_unknown_and_reading_writes_nothing(
    cache: CostCache, tmp_path: Path
) -> None:
    assert cache.read(trials_of()[0], device=CPU) == KnownCosts()
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read_for_every_trial_of_the_shape(cache: CostCache) -> None:
    first, second = trials_of(matrix={"seed": [0, 1]})
    cache.add_probe(first, a_probe())
    cache.add_trial(first, a_cost())
    cache.add_trial(second, a_cost(step_s=20.0))
    known = cache.read(trials_of(matrix={"seed": [7]})[0], device=CPU)
    assert known.probe == a_probe()
    assert dict(known.trials) == {
        first.trial_id: a_cost(), second.trial_id: a_cost(step_s=20.0)
    }  # fmt: skip


def test_another_shape_and_another_device_are_kept_apart(cache: CostCache) -> None:
    [trial] = trials_of()
    cache.add_probe(trial, a_probe(device="NVIDIA GPU", gpu_gib=5.0))
    assert cache.read(trial, device=CPU).probe is None
    assert cache.read(trials_of(thinking=True)[0], device="NVIDIA GPU").probe is None
    assert cache.read(trial, device="NVIDIA GPU").probe is not None


def test_a_trial_that_is_written_twice_counts_once(cache: CostCache) -> None:
    [trial] = trials_of()
    for step_s in (18.0, 19.0):
        cache.add_trial(trial, a_cost(step_s=step_s))
    assert [cost.step_s for cost in cache.read(trial, device=CPU).trials.values()] == [19.0]


def test_the_oldest_trials_are_dropped(cache: CostCache) -> None:
    trials = trials_of(matrix={"seed": list(range(MAX_TRIALS + 2))})
    for trial in trials:
        cache.add_trial(trial, a_cost())
    known = cache.read(trials[0], device=CPU)
    assert list(known.trials) == [trial.trial_id for trial in trials[2:]]


def test_a_file_that_cannot_be_read_is_written_anew(
    cache: CostCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [trial] = trials_of()
    cache.add_probe(trial, a_probe())
    [path] = (tmp_path / "costs").glob("*.json")
    path.write_text('{"probe": {"device": 1}, "trials"')
    with caplog.at_level(logging.WARNING):
        assert cache.read(trial, device=CPU) == KnownCosts()
    assert "cannot be read" in caplog.text
    cache.add_trial(trial, a_cost())
    assert len(cache.read(trial, device=CPU).trials) == 1


def test_what_cannot_be_written_is_known_until_the_cache_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [trial] = trials_of()
    (tmp_path / "costs").touch()
    cache = CostCache(tmp_path / "costs")
    cache.add_probe(trial, a_probe())
    cache.add_trial(trial, a_cost())
    assert "cannot be kept for later sweeps" in caplog.text
    assert cache.read(trial, device=CPU) == KnownCosts(
        probe=a_probe(), trials={trial.trial_id: a_cost()}
    )
    (tmp_path / "costs").unlink()
    cache.add_trial(trial, a_cost(step_s=20.0))
    assert CostCache(tmp_path / "costs").read(trial, device=CPU) == KnownCosts(
        probe=a_probe(), trials={trial.trial_id: a_cost(step_s=20.0)}
    )


def test_writers_at_the_same_time_lose_nothing(cache: CostCache) -> None:
    trials = trials_of(matrix={"seed": list(range(16))})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda trial: cache.add_trial(trial, a_cost()), trials))
    assert len(cache.read(trials[0], device=CPU).trials) == 16


def test_the_file_says_what_it_is_about(cache: CostCache, tmp_path: Path) -> None:
    [trial] = trials_of()
    cache.add_probe(trial, a_probe())
    [path] = (tmp_path / "costs").glob("*.json")
    document = json.loads(path.read_text())
    assert document["shape"]["model"] == "builtin:tiny"
    assert (document["device"], document["probe"]) == (CPU, asdict(a_probe()))


def test_after_the_probe_alone_the_process_is_expected_to_grow() -> None:
    known = KnownCosts(probe=a_probe(memory_gib=2.0, gpu_gib=5.0))
    assert known.measured == Peak(gpu_gib=5.0, memory_gib=2.0)
    assert known.peak == Peak(gpu_gib=5.0, memory_gib=2.0 * HEAP_GROWTH)


def test_a_share_that_the_probe_failed_in_stays_known_after_whole_trials() -> None:
    probe = a_probe(gpu_gib=5.0, gpu_failed_gib=6.0)
    known = KnownCosts(probe=probe, trials={"t": a_cost(gpu_gib=5.5)})
    assert known.peak == Peak(gpu_gib=5.5, gpu_failed_gib=6.0, memory_gib=3.0)


def test_a_cache_from_before_reservations_were_told_apart_is_read(
    cache: CostCache, tmp_path: Path
) -> None:
    [trial] = trials_of()
    cache.add_probe(trial, a_probe())
    [path] = (tmp_path / "costs").glob("*.json")
    document = json.loads(path.read_text())
    del document["probe"]["gpu_reserved_gib"], document["probe"]["gpu_failed_gib"]
    path.write_text(json.dumps(document))
    assert cache.read(trial, device=CPU).probe == a_probe()


@pytest.mark.parametrize(("trial_gib", "expected"), [(3.0, 3.0), (1.0, 2.0)])
def test_whole_trials_show_how_far_it_grows(trial_gib: float, expected: float) -> None:
    known = KnownCosts(probe=a_probe(memory_gib=2.0), trials={"t": a_cost(memory_gib=trial_gib)})
    assert known.peak == known.measured == Peak(memory_gib=expected)


def test_golds_and_the_parts_of_a_step_do_not_count_as_evaluations(tmp_path: Path) -> None:
    [trial] = trials_of()
    (tmp_path / "trial.yaml").write_text(dump_yaml(trial))
    lines = [
        (0, {"time/golds_s": 100.0}),
        (1, {"time/step_s": 2.0}),
        (2, {"time/step_s": 4.0, "time/generation_s": 2.0, "time/scoring_s": 1.0}),
        (2, {"time/eval_s": 7.0}),
    ]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(
            json.dumps({"step": step, "time": 0.0, "metrics": metrics}) + "\n"
            for step, metrics in lines
        )
    )
    (tmp_path / "outcome.json").write_text(json.dumps({"state": "FINISHED", "seconds": 118.0}))
    cost = read_trial_cost(tmp_path)
    assert cost is not None
    assert (cost.step_s, cost.evaluation_s, cost.other_s) == (3.0, 7.0, 118.0 - 6.0 - 7.0 - 100.0)
