"""Stopping rules replayed on points whose end is known."""

from collections.abc import Iterable

import pytest

from strictune.errors import SpecError
from strictune.launch.study.wrong_stops import replay_stops, stop_sentences
from strictune.records import Objective, Point, PointState, Study


def point(interim_values: dict[int, float], value: float | None, state: str = "finished") -> Point:
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
        trials=(),
    )


def study(points: Iterable[Point]) -> Study:
    return Study(
        cell="tiny",
        model="builtin:tiny",
        thinking=False,
        sampler="random",
        num_trials=8,
        objectives=(Objective(metric="eval/strict/pass_at_1", mode="max"),),
        components=(),
        default_weights={},
        config={"grpo": {"max_steps": 8}},
        winner=None,
        points=tuple(points),
    )


def test_looks_that_rank_as_the_end_does_stop_no_winner() -> None:
    values = [0.1 * index for index in range(8)]
    interim = [{2: value / 2, 4: value} for value in values]
    for stops in replay_stops([study(map(point, interim, values))]):
        assert stops.winner_stopped_frac == 0
        assert stops.lost == 0
        assert stops.saved_steps_frac > 0.1
        assert "stops the eventual winner in 0%" in stop_sentences([stops])[0]


def test_looks_that_rank_against_the_end_stop_the_winner() -> None:
    values = [0.1 * index for index in range(8)]
    interim = [{2: 1 - value} for value in values]
    for stops in replay_stops([study(map(point, interim, values))]):
        assert stops.winner_stopped_frac > 0.4
        assert stops.lost > 0


def test_a_study_that_stopped_its_points_cannot_tell() -> None:
    stopped = point({2: 0.0}, None, state="stopped early")
    watched = [point({2: 0.1}, 0.1), point({2: 0.2}, 0.2), stopped]
    with pytest.raises(SpecError, match=r"search\.scheduler\.kind = watch"):
        replay_stops([study(watched)])
