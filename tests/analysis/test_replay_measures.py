"""Measures of groups and their errors: tables with known answers, and scipy's Spearman."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from analysis.families import Floats
from analysis.replay.advantages import score_completions
from analysis.replay.measures import group_measures
from analysis.replay.pooled import Pool
from analysis.replay.steps import mean_over_steps, step_sums
from analysis.replay.within import group_rank_correlation, rank_signs

LEVELS = st.integers(0, 3).map(float)
ONE = np.ones((1, 1))


def measured(totals: Any, reference: Any, is_passing: Any) -> dict[str, Floats]:
    """Measure groups given as rows: (G, N) of each."""
    ours, theirs = (
        score_completions(np.array([rows], float).transpose(0, 2, 1), ONE, "sum_then_normalize")
        for rows in (totals, reference)
    )
    return group_measures(ours, rank_signs(theirs), np.array(is_passing, bool).T)


YES, NO = True, False
GROUPS = [
    # totals, default's totals, passing, then: rank correlation, flat, wrong, tied, correlation
    pytest.param([1, 2, 3], [1, 2, 3], [NO, NO, YES], (1, 0, 0, 0, 0.866), id="as-the-default"),
    pytest.param([3, 2, 1], [1, 2, 3], [NO, NO, YES], (-1, 0, 1, 0, -0.866), id="turned-over"),
    pytest.param([1, 3, 3], [1, 2, 3], [NO, NO, YES], (0.866, 0, 0, 1, 0.5), id="tie-at-the-top"),
    pytest.param([3, 3, 1], [1, 2, 3], [NO, YES, NO], (-0.866, 0, 0, 1, 0.5), id="tie-and-below"),
    pytest.param([2, 2, 2], [1, 2, 3], [NO, NO, YES], (np.nan, 1, 0, 1, 0), id="zero-spread"),
    pytest.param([1, 2, 3], [2, 2, 2], [NO, NO, YES], (np.nan, 0, 0, 0, 0.866), id="new-spread"),
    pytest.param(
        [1, 2, 3], [1, 2, 3], [NO, NO, NO], (1, 0, np.nan, np.nan, np.nan), id="none-passes"
    ),
    pytest.param(
        [1, 2, 3], [1, 2, 3], [YES, YES, YES], (1, 0, np.nan, np.nan, np.nan), id="all-pass"
    ),
]


@pytest.mark.parametrize(("totals", "reference", "is_passing", "expected"), GROUPS)
def test_a_group_measures(
    totals: list[int], reference: list[int], is_passing: list[bool], expected: tuple[float, ...]
) -> None:
    found = measured([totals], [reference], [is_passing])
    assert [float(values[0, 0]) for values in found.values()] == pytest.approx(
        expected, abs=1e-3, nan_ok=True
    )


@settings(max_examples=40, deadline=None)
@given(
    ours=arrays(np.float64, (5, 6), elements=LEVELS),
    theirs=arrays(np.float64, (5, 6), elements=LEVELS),
)
def test_group_rank_correlations_are_spearmans(ours: Floats, theirs: Floats) -> None:
    signs = [
        rank_signs(score_completions(rows.T[np.newaxis], ONE, "sum_then_normalize"))
        for rows in (ours, theirs)
    ]
    found = group_rank_correlation(*signs)[0]
    for one, other, value in zip(ours, theirs, found, strict=True):
        if np.ptp(one) == 0 or np.ptp(other) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(stats.spearmanr(one, other).statistic)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_pooled_rank_correlation_is_spearmans_over_all_completions(
    data: st.DataObject, scale: float
) -> None:
    blocks = [
        [data.draw(arrays(np.float64, (1, size, 4), elements=LEVELS)) for size in (3, 5)]
        for _ in range(2)
    ]
    ours, theirs = ([block - 1.5 for block in side] for side in blocks)
    flat = [np.concatenate([block.ravel() for block in side]) for side in (ours, theirs)]
    pool = Pool.of(theirs, [np.array([0, 2]), np.array([0, 1])])
    found = pool.correlate([scale * block for block in ours])
    if np.ptp(flat[0]) == 0 or np.ptp(flat[1]) == 0:
        assert np.isnan(found.value[0])
    else:
        assert found.value[0] == pytest.approx(stats.spearmanr(*flat).statistic)
        assert found.num[0] == 32


@pytest.mark.parametrize("is_coarse", [False, True], ids=["distinct", "tied"])
def test_its_error_is_that_of_ranking_again_without_each_step(is_coarse: bool) -> None:
    rng = np.random.default_rng(0)
    num_steps, groups, size = 40, 3, 8
    shift = np.repeat(rng.normal(size=num_steps), groups)
    theirs = rng.normal(size=(1, size, num_steps * groups)) + shift
    ours = theirs + rng.normal(size=theirs.shape) + shift
    if is_coarse:
        ours, theirs = np.round(ours), np.round(theirs)
    found = Pool.of([theirs], [np.arange(0, num_steps * groups, groups)]).correlate([ours])
    steps = np.repeat(np.arange(num_steps), groups)
    left = [
        stats.spearmanr(*(side[0][:, steps != step].ravel() for side in (ours, theirs))).statistic
        for step in range(num_steps)
    ]
    again = np.sqrt((num_steps - 1) * np.var(left))
    assert found.standard_error[0] == pytest.approx(again, rel=0.03)


def test_trials_keep_steps_of_their_own() -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(1, 4, 6)) for _ in range(4)]
    starts = np.array([0, 2, 4])
    apart = Pool.of(blocks[:2], [starts, starts]).correlate(blocks[2:])
    joined = [np.concatenate(pair, axis=-1) for pair in (blocks[:2], blocks[2:])]
    one = Pool.of([joined[0]], [np.arange(0, 12, 2)]).correlate([joined[1]])
    assert apart.value == pytest.approx(one.value)
    assert apart.standard_error == pytest.approx(one.standard_error)


def test_a_single_step_has_no_error() -> None:
    block = np.random.default_rng(0).normal(size=(1, 4, 3))
    found = Pool.of([block], [np.array([0])]).correlate([block**3])
    assert found.value == pytest.approx(1)
    assert np.isnan(found.standard_error).all()


def test_a_mean_of_steps_of_one_group_has_the_ordinary_error() -> None:
    values = np.random.default_rng(0).normal(size=(1, 50))
    found = mean_over_steps(step_sums(values, np.arange(50)), np.ones((1, 50)))
    assert found.value[0] == pytest.approx(values.mean())
    assert found.standard_error[0] == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    assert found.num[0] == 50


def test_groups_of_a_step_that_agree_count_as_one() -> None:
    by_step = np.random.default_rng(0).normal(size=(1, 20))
    starts = np.arange(0, 100, 5)
    found = mean_over_steps(step_sums(np.repeat(by_step, 5, axis=1), starts), np.full((1, 20), 5.0))
    assert found.standard_error[0] == pytest.approx(by_step.std(ddof=1) / np.sqrt(20))


@pytest.mark.parametrize("counts", [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
def test_a_mean_over_no_group_or_one_step_has_no_error(counts: list[float]) -> None:
    found = mean_over_steps(np.array([[0.0, 2.0, 0.0]]) * (np.sum(counts) > 0), np.array([counts]))
    assert np.isnan(found.standard_error[0])
    assert np.isnan(found.value[0]) == (sum(counts) == 0)


@settings(max_examples=40, deadline=None)
@given(
    rewards=arrays(np.float64, (3, 4, 5), elements=st.integers(-4, 4).map(lambda n: n / 4)),
    is_passing=arrays(np.bool_, (4, 5)),
    weights=arrays(np.float64, (2, 3), elements=st.integers(1, 20).map(lambda n: n / 20)),
)
@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_under_the_two_theorems_no_failing_completion_is_best(
    aggregation: Any, rewards: Floats, is_passing: Any, weights: Floats
) -> None:
    rewards[0] = np.minimum(rewards[0], 0.95)  # failing: below the maximum of a component
    rewards[:, is_passing] = 1.0
    scores = score_completions(rewards, weights, aggregation)
    found = group_measures(scores, rank_signs(scores)[:1], is_passing)
    assert not np.nan_to_num(found["wrong_best_frac"]).any()
    assert not np.nan_to_num(found["tied_best_frac"]).any()
    assert (np.nan_to_num(found["rung_correlation"], nan=1.0) > 0).all()
