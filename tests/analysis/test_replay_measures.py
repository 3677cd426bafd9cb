"""Who earns more: TRL's own order, tables with known answers, and errors over steps."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.matrices import Aggregation, RewardMatrix
from analysis.replay.measures import (
    AGGREGATIONS,
    Scores,
    group_measures,
    mean_over_steps,
    score_completions,
    step_sums,
    step_weights,
)

COARSE = st.integers(-4, 4).map(lambda quarters: quarters / 4)
MATRICES = arrays(np.float64, (3, 4, 5), elements=COARSE)
"""(C, N, G) with many ties."""
WEIGHTS = arrays(np.float64, 3, elements=st.integers(1, 20).map(lambda n: n / 20))


def order(scores: Scores) -> NDArray[np.int64]:
    """Return -1, 0 or 1 for each two completions of a group: (N, N, G)."""
    lead = scores.values[:, np.newaxis] - scores.values
    return (np.sign(lead) * (np.abs(lead) > scores.tie)).astype(np.int64)


@cache
def trl_source(module: str) -> ast.Module:
    found = importlib.util.find_spec("trl")
    assert found is not None
    assert found.origin is not None
    return ast.parse((Path(found.origin).parent / "trainer" / module).read_text(encoding="utf-8"))


def trl_advantages(rewards: Floats, weights: Floats, aggregation: str, scale: str) -> Floats:
    """Run the lines of ``GRPOTrainer`` that turn the rewards of one batch into advantages.

    They stand inside a method that generates completions, so they are taken out of the
    installed file as they are: from ``unscorable_mask`` to ``nan_to_num``.
    """
    import torch

    (nanstd,) = (
        node
        for node in trl_source("utils.py").body
        if isinstance(node, ast.FunctionDef) and node.name == "nanstd"
    )
    (method,) = (
        node
        for node in ast.walk(trl_source("grpo_trainer.py"))
        if isinstance(node, ast.FunctionDef) and node.name == "_generate_and_score_completions"
    )
    lines = [ast.unparse(node) for node in method.body]
    first = next(n for n, line in enumerate(lines) if line.startswith("unscorable_mask ="))
    last = next(n for n, line in enumerate(lines) if "nan_to_num(advantages" in line)
    components, size, _ = rewards.shape
    names: dict[str, Any] = {
        "torch": torch,
        "device": "cpu",
        "num_generations": size,
        "rewards_per_func": torch.from_numpy(rewards.transpose(2, 1, 0).reshape(-1, components)),
        "self": SimpleNamespace(
            multi_objective_aggregation=aggregation,
            scale_rewards=scale,
            reward_weights=torch.from_numpy(weights),
            reward_funcs=range(components),
        ),
    }
    source = "\n".join([ast.unparse(nanstd), *lines[first : last + 1]])
    exec(compile(source, "trl", "exec"), names)
    found: Floats = names["advantages"].numpy().reshape(-1, size).T
    return found


@pytest.mark.parametrize(
    ("aggregation", "scale"),
    [
        ("sum_then_normalize", "group"),
        ("sum_then_normalize", "batch"),
        ("sum_then_normalize", "none"),
        ("normalize_then_sum", "group"),
    ],
)
@pytest.mark.parametrize("size", [2, 8])
def test_the_order_within_groups_is_that_of_trls_advantages(
    aggregation: Aggregation, scale: str, size: int
) -> None:
    rewards = np.random.default_rng(size).integers(-4, 5, size=(7, size, 11)) / 4
    rewards[3, :, 4:] = np.nan  # a component that does not apply to some groups
    rewards[4, ::3, 7:9] = np.nan  # nor to some completions
    rewards[:, :, 0] = rewards[:, :1, 0]  # a group without spread
    rewards[2] = 0.7  # a component that never differs
    weights = np.array([0.1, 0.0, 0.3, 0.25, 0.1, 0.05, 0.2])
    scores = score_completions(rewards, weights, aggregation)
    expected = trl_advantages(rewards, weights, aggregation, scale)
    # TRL keeps Bessel's factor in float32, whatever the rewards are.
    np.testing.assert_array_equal(order(scores), order(Scores(expected, np.array([1e-6]))))
    assert scores.is_flat.tolist() == [True] + [False] * 10
    assert expected[:, 0] == pytest.approx(0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, weights=WEIGHTS, factor=st.sampled_from([1e-3, 0.5, 7.0, 1e4]))
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_scale_of_the_weights_changes_no_order(
    aggregation: Aggregation, rewards: Floats, weights: Floats, factor: float
) -> None:
    ours, scaled = (score_completions(rewards, weights * by, aggregation) for by in (1.0, factor))
    np.testing.assert_array_equal(order(ours), order(scaled))
    np.testing.assert_array_equal(ours.is_flat, scaled.is_flat)


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, weights=WEIGHTS, level=COARSE)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_component_that_is_constant_in_each_group_changes_no_order(
    aggregation: Aggregation, rewards: Floats, weights: Floats, level: float
) -> None:
    constant = np.where(np.arange(3)[:, np.newaxis, np.newaxis] == 1, level, rewards)
    ours, theirs = (
        score_completions(constant, chosen, aggregation)
        for chosen in (weights, weights * [1, 0, 1])
    )
    np.testing.assert_array_equal(order(ours), order(theirs))


def test_sums_that_only_rounding_keeps_apart_tie() -> None:
    assert 0.1 + 0.2 != 0.3
    rewards = np.array([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [1.0]]])
    scores = score_completions(rewards, np.array([0.1, 0.2, 0.3]), "sum_then_normalize")
    assert scores.is_flat.all()
    assert (order(scores) == 0).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_group_may_have_weights_of_its_own(aggregation: Aggregation) -> None:
    rewards = np.random.default_rng(0).random((3, 4, 2))
    weights = np.array([[0.2, 0.9], [0.3, 0.0], [0.5, 0.1]])
    both = score_completions(rewards, weights, aggregation)
    for group in (0, 1):
        alone = score_completions(rewards[:, :, [group]], weights[:, group], aggregation)
        np.testing.assert_allclose(both.values[:, [group]], alone.values)
        assert both.tie[group] == pytest.approx(alone.tie[0])


def test_saw_weighs_each_step_by_what_varies_in_it() -> None:
    rewards = np.random.default_rng(0).random((2, 4, 5))
    rewards[0, :, :2] = 1.0  # in the first step, of two groups, the first component is learned
    matrix = RewardMatrix(
        trial_id="t",
        rewards=rewards,
        is_passing=np.zeros((4, 5), dtype=np.bool_),
        steps=np.array([1, 1, 2, 2, 2]),
    )
    weights = np.array([0.4, 0.6])
    acting = step_weights(matrix, weights, "saw")
    np.testing.assert_allclose(acting[:, :2], [[0.0, 0.0], [1.2, 1.2]])
    np.testing.assert_allclose(acting[:, 2:], np.repeat(acting[:, [2]], 3, axis=1))
    assert 0.2 < acting[0, 2] < 0.6
    np.testing.assert_array_equal(step_weights(matrix, weights, "dvao"), weights)


YES, NO = True, False


@pytest.mark.parametrize(
    ("totals", "is_passing", "sums", "counts"),
    [
        pytest.param([1, 2, 3], [NO, NO, YES], [0, 0, 0], [1, 2, 2], id="the-right-one-is-best"),
        pytest.param([3, 2, 1], [NO, NO, YES], [0, 2, 0], [1, 2, 2], id="the-right-one-is-worst"),
        pytest.param([1, 3, 3], [NO, NO, YES], [0, 0, 1], [1, 2, 2], id="tie-at-the-top"),
        pytest.param([2, 3, 1], [NO, YES, YES], [0, 1, 0], [1, 2, 2], id="above-one-of-two"),
        pytest.param([2, 2, 2], [NO, NO, YES], [1, 0, 2], [1, 2, 2], id="zero-spread"),
        pytest.param([1, 2, 3], [NO, NO, NO], [0, 0, 0], [1, 0, 0], id="none-passes"),
        pytest.param([1, 2, 3], [YES, YES, YES], [0, 0, 0], [1, 0, 0], id="all-pass"),
    ],
)
def test_pairs_of_a_group_are_counted(
    totals: list[float], is_passing: list[bool], sums: list[int], counts: list[int]
) -> None:
    rewards = np.array(totals, dtype=np.float64).reshape(1, 3, 1)
    scores = score_completions(rewards, np.ones(1), "sum_then_normalize")
    found = group_measures(scores, np.array(is_passing).reshape(3, 1))
    assert [side[:, 0].tolist() for side in found] == [sums, counts]


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, is_passing=arrays(np.bool_, (4, 5)), weights=WEIGHTS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_under_the_two_theorems_no_failing_completion_earns_as_much_as_a_passing_one(
    aggregation: Aggregation, rewards: Floats, is_passing: Any, weights: Floats
) -> None:
    rewards[0] = np.minimum(rewards[0], 0.95)  # failing: below the maximum of a component
    rewards[:, is_passing] = 1.0
    sums, _ = group_measures(score_completions(rewards, weights, aggregation), is_passing)
    assert not sums[1:].any()


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
