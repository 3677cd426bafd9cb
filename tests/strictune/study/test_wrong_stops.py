"""Stopping rules replayed on points whose end is known."""

from typing import Any

import pytest

from strictune.errors import SpecError
from strictune.launch.study.wrong_stops import replay_stops, stop_sentences


def study(looks: list[dict[int, float]], values: list[float], **more: Any) -> dict[str, Any]:
    points = [
        {
            "state": "finished",
            "looks": {str(step): value for step, value in found.items()},
            "values": [value],
        }
        for found, value in zip(looks, values, strict=True)
    ]
    return {
        "cell": "tiny",
        "objectives": [{"metric": "eval/strict/pass_at_1", "mode": "max"}],
        "config": {"grpo": {"max_steps": 8}},
        "points": points,
    } | more


def test_looks_that_rank_as_the_end_does_stop_no_winner() -> None:
    values = [0.1 * index for index in range(8)]
    looks = [{2: value / 2, 4: value} for value in values]
    for stops in replay_stops([study(looks, values)]):
        assert stops.winner_stopped_frac == 0
        assert stops.lost == 0
        assert stops.saved_steps_frac > 0.1
        assert "stops the eventual winner in 0%" in stop_sentences([stops])[0]


def test_looks_that_rank_against_the_end_stop_the_winner() -> None:
    values = [0.1 * index for index in range(8)]
    looks = [{2: 1 - value} for value in values]
    for stops in replay_stops([study(looks, values)]):
        assert stops.winner_stopped_frac > 0.4
        assert stops.lost > 0


def test_a_study_that_stopped_its_points_cannot_tell() -> None:
    stopped = study([{2: 0.1}, {2: 0.2}], [0.1, 0.2])
    stopped["points"].append({"state": "stopped early", "looks": {"2": 0.0}, "values": None})
    with pytest.raises(SpecError, match=r"search\.scheduler\.kind = watch"):
        replay_stops([stopped])
