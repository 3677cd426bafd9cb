"""A/A: a cell against itself, in worlds where the rate of false calls is known."""

import numpy as np
import pytest
from simulated_nulls import World, answers, family_labels, intercept

from analysis.aa import false_calls
from analysis.differences import paired_difference, recipe_difference
from analysis.families import Floats

NUM_SWEEPS = 20
NUM_SEEDS = 3


def trained(world: World, *, num: int, seed: int) -> tuple[Floats, list[str]]:
    """Train one recipe with several seeds, ``num`` times: (num, 2 S, P)."""
    rng = np.random.default_rng(seed)
    labels = family_labels(world, rng)
    difficulty = rng.normal(0, 1.4, size=(num, 1, world.num_families))
    seeds = world.seed_sd * rng.normal(size=(num, 2 * NUM_SEEDS, 1))
    logits = intercept(world.rate, 1.4) + difficulty + seeds
    return answers(logits, labels, world, rng), [str(label) for label in labels]


@pytest.mark.parametrize("seed_sd", [0.0, 0.2, 0.5])
def test_the_rate_of_twenty_sweeps_is_that_of_their_world(seed_sd: float) -> None:
    world = World(210, 70, 0.3, seed_sd)
    many, families = trained(world, num=1000, seed=1)
    true_frac = float((paired_difference(many[:, 0], many[:, 1], families).p < 0.05).mean())
    runs, families = trained(world, num=NUM_SWEEPS, seed=2)
    found = [false_calls(sweep[:NUM_SEEDS], families) for sweep in runs]
    simulated = np.mean([one.runs_frac for one in found if one is not None])
    # A single sweep's rate scatters by some 25 points; see the module.
    assert simulated == pytest.approx(true_frac, abs=0.16)
    assert (true_frac > 0.3) is (seed_sd == 0.5)


@pytest.mark.parametrize("seed_sd", [0.0, 0.5])
def test_of_twenty_cells_against_themselves_few_are_called_different(seed_sd: float) -> None:
    runs, families = trained(World(210, 70, 0.3, seed_sd), num=NUM_SWEEPS, seed=3)
    found = recipe_difference(runs[:, :NUM_SEEDS], runs[:, NUM_SEEDS:], families)
    assert int((found.p < 0.05).sum()) <= 3
    rates = [false_calls(sweep[:NUM_SEEDS], families) for sweep in runs]
    recipes = [
        one.recipes_frac for one in rates if one is not None and one.recipes_frac is not None
    ]
    assert len(recipes) == NUM_SWEEPS
    assert np.mean(recipes) < 0.08


def test_pairs_at_hand_are_counted() -> None:
    families = [f"f{index // 2}" for index in range(100)]
    alike = (np.arange(100) % 3 == 0).astype(np.float64)
    found = false_calls(np.stack([alike, alike, 1 - alike * 0.2]), families)
    assert found is not None
    assert (found.num_pairs, found.num_called) == (3, 2)


def test_one_seed_or_one_family_says_nothing() -> None:
    rates = np.random.default_rng(0).random((2, 10))
    assert false_calls(rates[:1], [str(index) for index in range(10)]) is None
    assert false_calls(rates, ["same"] * 10) is None


def test_two_seeds_say_nothing_of_recipes() -> None:
    rates = np.random.default_rng(0).random((2, 10))
    found = false_calls(rates, [str(index) for index in range(10)])
    assert found is not None
    assert found.recipes_frac is None
