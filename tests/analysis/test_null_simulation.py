"""Intervals cover and verdicts are rarely false in worlds whose truth is known."""

import pytest
from simulated_nulls import World, recipe_errors, run_errors

RATES = (0.05, 0.2, 0.5, 0.8, 0.95)
DESIGNS = [pytest.param((1000, 24), id="24-families"), pytest.param((1000, 140), id="140-families")]


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("seed_sd", [0.0, 0.2, 0.5])
@pytest.mark.parametrize(("index", "rate"), list(enumerate(RATES)))
def test_adapter_intervals_cover_the_difference_of_this_run(
    design: tuple[int, int], seed_sd: float, index: int, rate: float
) -> None:
    errors = run_errors(World(*design, rate, seed_sd), seed=index)
    assert 0.02 <= errors.missed <= 0.07
    assert 0.02 <= errors.missed_rate <= 0.08


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("seed_sd", [0.2, 0.5])
@pytest.mark.parametrize(("index", "rate"), list(enumerate(RATES)))
def test_recipe_verdicts_are_false_at_most_seven_times_in_a_hundred(
    design: tuple[int, int], seed_sd: float, index: int, rate: float
) -> None:
    errors = recipe_errors(World(*design, rate, seed_sd), seed=index)
    assert 0.02 <= errors.missed <= 0.07
    assert 0.02 <= errors.missed_baseline <= 0.07


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.8])
def test_intervals_cover_differences_that_are_not_zero(
    design: tuple[int, int], rate: float
) -> None:
    world = World(*design, rate, seed_sd=0.2, gain=0.15)
    assert run_errors(world, seed=1).missed <= 0.08
    assert recipe_errors(world, seed=1).missed_baseline <= 0.08


@pytest.mark.parametrize(("index", "rate"), list(enumerate(RATES)))
def test_few_prompts_make_verdicts_cautious_not_false(index: int, rate: float) -> None:
    world = World(60, 24, rate, seed_sd=0.5)
    assert run_errors(world, seed=index).missed <= 0.07
    errors = recipe_errors(world, seed=index)
    assert max(errors.missed, errors.missed_baseline) <= 0.07


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("rate", RATES)
def test_the_naive_paired_test_fails_the_same_simulation(
    design: tuple[int, int], rate: float
) -> None:
    assert run_errors(World(*design, rate), seed=1).naive_false > 0.07


@pytest.mark.parametrize("design", DESIGNS)
def test_ignoring_seeds_fails_the_same_simulation(design: tuple[int, int]) -> None:
    world = World(*design, 0.5, seed_sd=0.5)
    assert run_errors(world, seed=1).as_recipe_false > 0.2
    assert recipe_errors(world, seed=1).without_seeds_false > 0.15
