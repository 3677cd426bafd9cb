"""The figures of a search are drawn from their rows, in marks that hold in grey."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from analysis.figures.theme import specification, to_svg
from analysis.study.pictures import (
    parallel_points,
    pareto_front,
    weight_importance,
    weight_slices,
)

POINTS = (("p000", "default"), ("p001", "winner"), ("p002", "other"))
STANDINGS = ("dominated", "on the front", "infeasible")

CASES: Mapping[str, Callable[[], Any]] = {
    "pareto_front": lambda: pareto_front(
        [
            {"point": name, "role": role, "standing": standing, "x": 40.0 + index, "y": 0.1 * index}
            for index, ((name, role), standing) in enumerate(zip(POINTS, STANDINGS, strict=True))
        ],
        x="eval/completion_tokens/mean",
        y="eval/strict/pass_at_1",
    ),
    "weight_importance": lambda: weight_importance(
        [
            {"parameter": name, "share": 0.5, "low": 0.3, "high": 0.7, "chance": chance}
            for name, chance in (("weight of schema", "above chance"), ("beta", "within chance"))
        ]
    ),
    "parallel_points": lambda: parallel_points(
        [
            {"point": name, "role": role, "dimension": dimension, "position": place, "text": "0.25"}
            for place, (name, role) in enumerate(POINTS)
            for dimension in ("schema", "eval/strict/pass_at_1")
        ]
    ),
    "weight_slices": lambda: weight_slices(
        [
            {
                "point": name,
                "role": role,
                "dimension": dimension,
                "setting": setting,
                "value": 0.4,
                "low": math.nan,
                "high": 0.5,
            }
            for name, role in POINTS
            for dimension, setting in (("schema", 0.25), ("aggregation", "sum_then_normalize"))
        ],
        value="eval/strict/pass_at_1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_figure_is_drawn(name: str) -> None:
    document = specification(CASES[name]())
    assert "NaN" not in str(document)
    assert to_svg(document).startswith("<svg")


def test_only_the_front_is_joined_and_named() -> None:
    picture = to_svg(specification(CASES["pareto_front"]()))
    assert ">p001</text>" in picture
    assert ">p000</text>" not in picture


def test_the_winner_differs_from_others_in_shape() -> None:
    assert "'diamond', 'square', 'circle'" in str(specification(CASES["weight_slices"]()))


def test_choices_are_drawn_beside_numbers() -> None:
    picture = to_svg(specification(CASES["weight_slices"]()))
    assert ">sum_then_normalize</text>" in picture
