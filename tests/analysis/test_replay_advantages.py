"""Advantages: equal to what TRL's own lines give, and what follows from the formulas."""

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

from analysis.families import Floats
from analysis.replay.advantages import SCHEMES, Aggregation, Scheme, advantages, score_completions
from analysis.replay.within import rank_signs

GROUP, BATCH, NONE, NORMALIZE_FIRST = SCHEMES
AGGREGATIONS: tuple[Aggregation, ...] = ("sum_then_normalize", "normalize_then_sum")
COARSE = st.integers(-4, 4).map(lambda quarters: quarters / 4)
MATRICES = arrays(np.float64, (3, 4, 5), elements=COARSE)
"""(C, N, G) with many ties."""
WEIGHTS = arrays(np.float64, (2, 3), elements=st.integers(1, 20).map(lambda n: n / 20))


def replayed(rewards: Floats, weights: Any, scheme: Scheme, starts: Any = (0,)) -> Floats:
    scores = score_completions(rewards, np.atleast_2d(np.asarray(weights, float)), scheme[0])
    return advantages(scores, scheme, np.asarray(starts))


@cache
def trl_source(module: str) -> ast.Module:
    found = importlib.util.find_spec("trl")
    assert found is not None
    assert found.origin is not None
    return ast.parse((Path(found.origin).parent / "trainer" / module).read_text(encoding="utf-8"))


def trl_advantages(rewards: Floats, weights: Floats, scheme: Scheme) -> Floats:
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
            multi_objective_aggregation=scheme.aggregation,
            scale_rewards=scheme.scale_rewards,
            reward_weights=torch.from_numpy(weights),
            reward_funcs=range(components),
        ),
    }
    source = "\n".join([ast.unparse(nanstd), *lines[first : last + 1]])
    exec(compile(source, "trl", "exec"), names)
    found: Floats = names["advantages"].numpy().reshape(-1, size).T
    return found


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
@pytest.mark.parametrize("size", [2, 8])
def test_advantages_are_those_of_trl(scheme: Scheme, size: int) -> None:
    rng = np.random.default_rng(size)
    batches = [rng.integers(-4, 5, size=(7, size, groups)) / 4 for groups in (1, 6, 4)]
    batches[1][:, :, 0] = batches[1][:, :1, 0]  # a group without spread
    batches[1][2] = 0.7  # a component that never differs in a batch
    weights = np.array([0.1, 0.0, 0.3, 0.25, 0.1, 0.05, 0.2])
    found = replayed(np.concatenate(batches, axis=2), weights, scheme, starts=(0, 1, 7))[0]
    expected = np.hstack([trl_advantages(batch, weights, scheme) for batch in batches])
    # TRL keeps Bessel's factor in float32, whatever the rewards are.
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
    assert (found[:, 1] == 0).all()
    assert np.abs(found).max() > 0.1


REWARDS = np.array([[[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
"""Two components; group 0 differs by 1 in the first, group 1 by 1 in the second."""


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        # Group std 0.8/sqrt(2) and 0.2/sqrt(2); half of the difference over it is 1/sqrt(2).
        pytest.param(GROUP, [[-0.70698, -0.70661], [0.70698, 0.70661]], id="group"),
        # Totals 0, 0.8, 0.8, 1: std sqrt(0.59/3).
        pytest.param(BATCH, [[-0.90177, -0.22544], [0.90177, 0.22544]], id="batch"),
        pytest.param(NONE, [[-0.4, -0.1], [0.4, 0.1]], id="none"),
        # Each component at +-1/sqrt(2) times its weight; std sqrt(0.68/3).
        pytest.param(NORMALIZE_FIRST, [[-1.18794, -0.29699], [1.18794, 0.29699]], id="normalize"),
    ],
)
def test_a_worked_example(scheme: Scheme, expected: list[list[float]]) -> None:
    found = replayed(REWARDS, [0.8, 0.2], scheme)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_steps_are_batches_of_their_own() -> None:
    both = replayed(np.concatenate([REWARDS, 0.5 * REWARDS], axis=2), [0.8, 0.2], BATCH, (0, 2))
    alone = [replayed(part * REWARDS, [0.8, 0.2], BATCH) for part in (1, 0.5)]
    np.testing.assert_allclose(both, np.concatenate(alone, axis=2))


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, weights=WEIGHTS, factor=st.sampled_from([1e-3, 0.5, 7.0, 1e4]))
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_scale_of_the_weights_changes_no_order(
    aggregation: Aggregation, rewards: Floats, weights: Floats, factor: float
) -> None:
    ours, scaled = (score_completions(rewards, weights * by, aggregation) for by in (1.0, factor))
    np.testing.assert_array_equal(rank_signs(ours), rank_signs(scaled))
    np.testing.assert_array_equal(ours.is_flat, scaled.is_flat)


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, weights=WEIGHTS)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.label)
def test_advantages_add_up_to_zero_and_follow_the_scores(
    scheme: Scheme, rewards: Floats, weights: Floats
) -> None:
    scores = score_completions(rewards, weights, scheme.aggregation)
    found = advantages(scores, scheme, np.array([0, 2]))
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-9)
    assert (found[np.broadcast_to(scores.is_flat[:, np.newaxis], found.shape)] == 0).all()
    steps_up = np.diff(np.sort(found, axis=1), axis=1)
    follows = np.diff(np.take_along_axis(found, np.argsort(scores.values, axis=1), 1), axis=1)
    np.testing.assert_allclose(follows, steps_up, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, component=st.integers(0, 2))
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_weights_on_one_component_rank_by_it(
    aggregation: Aggregation, rewards: Floats, component: int
) -> None:
    scores = score_completions(rewards, np.eye(3)[[component]], aggregation)
    alone = score_completions(rewards[[component]], np.ones((1, 1)), "sum_then_normalize")
    np.testing.assert_array_equal(rank_signs(scores), rank_signs(alone))
    flat = rewards[component].max(axis=0) == rewards[component].min(axis=0)
    np.testing.assert_array_equal(scores.is_flat[0], flat)


@settings(max_examples=40, deadline=None)
@given(rewards=MATRICES, weights=WEIGHTS, level=COARSE)
def test_a_component_that_is_constant_in_each_group_changes_no_order(
    rewards: Floats, weights: Floats, level: float
) -> None:
    constant = np.where(np.arange(3)[:, np.newaxis, np.newaxis] == 1, level, rewards)
    without = weights * [1, 0, 1]
    for aggregation in AGGREGATIONS:
        ours, theirs = (score_completions(constant, w, aggregation) for w in (weights, without))
        np.testing.assert_array_equal(rank_signs(ours), rank_signs(theirs))


def test_sums_that_only_rounding_keeps_apart_tie() -> None:
    assert 0.1 + 0.2 != 0.3
    rewards = np.array([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [1.0]]])
    scores = score_completions(rewards, np.array([[0.1, 0.2, 0.3]]), "sum_then_normalize")
    assert scores.is_flat.all()
    assert (rank_signs(scores) == 0).all()
    assert (advantages(scores, NONE, np.array([0])) == 0).all()
