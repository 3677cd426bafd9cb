"""Stopping rules replayed on points whose end is known."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from study_fakes import write_interim

from strictune.errors import SpecError
from strictune.launch.study.wrong_stops import replay_stops, stop_sentences
from strictune.records import Objective, Point, PointState, Study

NO_TRIALS = Path("no-trials")
TRIAL = {"task": {"kind": "strict_json"}, "model": "builtin:tiny", "grpo": {"max_steps": 8}}


def point(
    interim_values: dict[int, float],
    value: float | None,
    state: str = "finished",
    trials: tuple[str, ...] = ("t0",),
) -> Point:
    return Point(
        number=0,
        state=PointState(state),
        is_from_before=False,
        is_feasible=True,
        constraints={},
        settings={},
        weights={},
        values=None if value is None else (value,),
        interim_values=interim_values,
        reason=None,
        trials=trials,
    )


def study(points: Iterable[Point], **config: Any) -> Study:
    return Study(
        cell="tiny",
        model="builtin:tiny",
        thinking=False,
        sampler="random",
        num_trials=8,
        objectives=(Objective(metric="eval/strict/pass_at_1", mode="max"),),
        components=(),
        default_weights={},
        config=TRIAL | config,
        winner=None,
        points=tuple(points),
    )


def test_looks_that_rank_as_the_end_does_stop_no_winner() -> None:
    values = [0.1 * index for index in range(8)]
    interim = [{2: value / 2, 4: value} for value in values]
    for stops in replay_stops([study(map(point, interim, values))], NO_TRIALS):
        assert stops.winner_stopped_frac == 0
        assert stops.lost == 0
        assert stops.saved_steps_frac > 0.1
        assert "stops the eventual winner in 0%" in stop_sentences([stops])[0]


def test_settings_that_this_version_does_not_know_are_named() -> None:
    cell = study([point({2: value / 2}, value) for value in (0.1, 0.2)], looks=1)
    with pytest.raises(SpecError, match=r"^studies\.json: tiny: looks is not a known key"):
        replay_stops([cell], NO_TRIALS)


def test_looks_that_rank_against_the_end_stop_the_winner() -> None:
    values = [0.1 * index for index in range(8)]
    interim = [{2: 1 - value} for value in values]
    for stops in replay_stops([study(map(point, interim, values))], NO_TRIALS):
        assert stops.winner_stopped_frac > 0.4
        assert stops.lost > 0


def test_steps_are_those_of_all_stages() -> None:
    """Golds of a warm start come in batches of their own: 3 steps and 15, where GRPO has 20."""
    values = [0.1 * index for index in range(8)]
    points = [point({9: value}, value) for value in values]
    mixed = {"grpo": {"max_steps": 20}, "sft": {"per_device_train_batch_size": 16}}
    warm = replay_stops([study(points, **mixed, curriculum="warm_start")], NO_TRIALS)
    plain = replay_stops([study(points, grpo={"max_steps": 18})], NO_TRIALS)
    assert warm == plain
    assert all(stops.saved_steps_frac > 0.1 for stops in warm)


def test_a_study_that_stopped_its_points_cannot_tell() -> None:
    stopped = point({2: 0.0}, None, state="stopped early")
    watched = [point({2: 0.1}, 0.1), point({2: 0.2}, 0.2), stopped]
    with pytest.raises(SpecError, match=r"search\.scheduler\.kind = watch"):
        replay_stops([study(watched)], NO_TRIALS)


def test_dominated_spares_a_winner_whose_lead_comes_late(tmp_path: Path) -> None:
    """Half of the points never learn; among the others those that are ahead change places."""
    points = []
    for number in range(10):
        end = 0.05 if number < 5 else 0.30 + 0.02 * number
        early = 0.05 if number < 5 else 0.35 - 0.02 * number
        trial = tmp_path / f"t{number}"
        values = {
            step: write_interim(trial, step=step, rate=rate, seed=10 * number + step)
            for step, rate in ((2, early), (4, (early + end) / 2))
        }
        points.append(point(values, end, trials=(f"t{number}",)))
    found = {stops.kind: stops for stops in replay_stops([study(points)], tmp_path)}
    assert found["dominated"].winner_stopped_frac == 0
    assert found["dominated"].saved_steps_frac > 0.05
    assert found["asha"].winner_stopped_frac > 0.3
    assert "dominated stops the eventual winner in 0%" in stop_sentences([found["dominated"]])[0]


def test_dominated_is_not_replayed_without_the_answers_it_compares() -> None:
    watched = [point({2: 0.1}, 0.1), point({2: 0.2}, 0.2)]
    found = replay_stops([study(watched)], NO_TRIALS)
    assert [stops.kind for stops in found] == ["asha", "median"]
