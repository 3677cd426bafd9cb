"""Sensitivity is what the formula says, and saturation lasts to the end."""

import numpy as np
import pytest
from numpy.typing import NDArray
from searched_sweep import load_search

from analysis.replay.matrices import Cell, RewardMatrix
from analysis.study.reward_audit import (
    ComponentAudit,
    Scheme,
    Weighting,
    audit_components,
    weightings_of,
)
from strictune.config import TrialSpec, expand

NUM_STEPS, NUM_GROUPS, SIZE = 20, 2, 4


@pytest.fixture(scope="module")
def cell() -> TrialSpec:
    (found,) = expand(load_search())
    return found


def recorded(cell: TrialSpec, rewards: NDArray[np.float64]) -> Cell:
    """Return a cell with one matrix, (C, N, G) with ``NUM_GROUPS`` groups a step."""
    matrix = RewardMatrix(
        trial_id="t",
        rewards=rewards,
        is_passing=np.zeros(rewards.shape[1:], dtype=np.bool_),
        steps=np.repeat(np.arange(1, NUM_STEPS + 1), NUM_GROUPS),
    )
    return Cell(name=cell.cell, spec=cell, matrices=(matrix,))


def random_rewards(cell: TrialSpec, seed: int = 0) -> NDArray[np.float64]:
    shape = (len(cell.task.components), SIZE, NUM_STEPS * NUM_GROUPS)
    return np.random.default_rng(seed).random(shape)


def by_name(audits: tuple[ComponentAudit, ...]) -> dict[str, ComponentAudit]:
    return {audit.component: audit for audit in audits}


def test_sensitivity_is_the_weighted_ratio_of_spreads_within_groups(cell: TrialSpec) -> None:
    rewards = random_rewards(cell)
    # What differs between groups only must not count.
    rewards += 10 * np.random.default_rng(1).random((1, 1, rewards.shape[-1]))
    rewards -= rewards.max() - 1
    weights = {name: float(index) for index, name in enumerate(cell.task.components)}
    weighting = Weighting("w", weights, Scheme("sum_then_normalize", "group"))
    found = by_name(audit_components(recorded(cell, rewards), [weighting]))
    total = np.tensordot(np.array(list(weights.values())), rewards, axes=1)
    spread = np.sqrt(total.var(axis=0).sum())
    for index, name in enumerate(cell.task.components):
        if name in found:
            expected = index * np.sqrt(rewards[index].var(axis=0).sum()) / spread
            assert found[name].sensitivity["w"].value == pytest.approx(expected)
            assert found[name].sensitivity["w"].standard_error > 0 or index == 0


def test_normalizing_first_makes_sensitivity_independent_of_a_components_scale(
    cell: TrialSpec,
) -> None:
    rewards = random_rewards(cell)
    weights = dict.fromkeys(cell.task.components, 1.0)
    weighting = Weighting("w", weights, Scheme("normalize_then_sum", "group"))
    before = by_name(audit_components(recorded(cell, rewards), [weighting]))
    rewards[0] /= 50
    after = by_name(audit_components(recorded(cell, rewards), [weighting]))
    name = cell.task.components[0]
    assert after[name].sensitivity["w"].value == pytest.approx(
        before[name].sensitivity["w"].value, rel=0.1
    )


def test_what_the_cell_cannot_earn_is_not_listed(cell: TrialSpec) -> None:
    found = by_name(audit_components(recorded(cell, random_rewards(cell)), []))
    assert "reasoning" not in found
    assert len(found) == len(cell.task.components) - 1


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        pytest.param([], None, id="never"),
        pytest.param(range(1, 21), 1, id="always"),
        pytest.param(range(12, 21), 12, id="from-a-step-on"),
        pytest.param(range(5, 15), None, id="only-for-a-while"),
        pytest.param([*range(5, 15), 20], None, id="a-single-step-is-no-window"),
    ],
)
def test_a_component_is_saturated_from_where_it_stays_constant(
    cell: TrialSpec, constant: range, expected: int | None
) -> None:
    rewards = random_rewards(cell)
    is_constant = np.isin(np.repeat(np.arange(1, 21), NUM_GROUPS), list(constant))
    schema = cell.task.components.index("schema")
    rewards[schema, :, is_constant] = 1.0
    found = by_name(audit_components(recorded(cell, rewards), []))["schema"]
    assert found.saturation_step == expected
    assert found.at_max_frac == pytest.approx(found.constant_groups_frac)


def test_stages_with_weights_of_their_own_are_weighted_each(cell: TrialSpec) -> None:
    (one,) = weightings_of("default", cell)
    assert (one.name, one.weights) == ("default", cell.weights)
    stages = [
        cell.stages[0].model_copy(update={"name": name, "rewards": rewards})
        for name, rewards in (("first", None), ("last", {"schema": 0.9, "strictness": 0.1}))
    ]
    staged = cell.model_copy(update={"curricula": {cell.curriculum: tuple(stages)}})
    found = weightings_of("p001", staged)
    assert [one.name for one in found] == ["p001 in first", "p001 in last"]
    assert found[1].weights["schema"] == pytest.approx(0.9)
