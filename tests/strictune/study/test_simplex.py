"""Weights on the simplex: sums, floors, even draws, and the way back."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strictune.launch.study.space import sticks_of, weights_of

NAMES = ("a", "b", "c", "d")


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.sampled_from([0.0, 0.02, 0.25]))
@example([0.5, 0.75, 1.0], 0.0)
def test_weights_add_up_to_one_and_keep_the_floor(sticks: list[float], floor: float) -> None:
    weights = weights_of(NAMES, sticks, min_weight=floor)
    assert list(weights) == list(NAMES)
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-9)
    # Rounding moves a weight by half a unit of the fourth decimal, the last by all of them.
    assert min(weights.values()) >= floor - 2e-4


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_weights_come_back_from_their_sticks(raw: list[float]) -> None:
    wanted = {name: value / sum(raw) for name, value in zip(NAMES, raw, strict=True)}
    sticks = sticks_of(wanted, min_weight=0.0)
    assert all(0 <= stick <= 1 for stick in sticks)
    assert weights_of(NAMES, sticks, min_weight=0.0) == pytest.approx(wanted, abs=3e-4)


def test_the_scale_of_weights_means_nothing() -> None:
    once = sticks_of({"a": 0.2, "b": 0.3, "c": 0.5}, min_weight=0.02)
    assert sticks_of({"a": 2, "b": 3, "c": 5}, min_weight=0.02) == pytest.approx(once)


def test_even_sticks_give_even_weights() -> None:
    """Each weight of an even draw has mean 1/k and variance (k - 1) / k^2 / (k + 1)."""
    draws = np.random.default_rng(0).random((20_000, 3))
    weights = np.array([list(weights_of(NAMES, row, min_weight=0.0).values()) for row in draws])
    assert weights.mean(axis=0) == pytest.approx([0.25] * 4, abs=0.01)
    assert weights.var(axis=0) == pytest.approx([3 / 16 / 5] * 4, rel=0.05)


def test_a_weight_below_the_floor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a = 0\.01 is below 0\.02"):
        sticks_of({"a": 0.01, "b": 0.99}, min_weight=0.02)
