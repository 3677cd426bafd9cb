"""Worlds in which the truth is known: families answer alike, seeds move a whole run.

    logit P(right) = mu_arm + difficulty_family + response_(arm, family) + seed_run

Difficulty (sd 1) is shared by both sides; the response of a trained side (sd 1) and the seed
effect of each of its runs are drawn anew. mu is solved for, so that each side has the rate
that the world says over families and seeds: a null is exact although logits differ. Family
sizes differ (gamma, shape 4: at 24 families the largest holds about 8% of the prompts).

    python tests/analysis/simulated_nulls.py        prints the table of analysis/README.md
"""

import sys
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import expit

from analysis.differences import interval, paired_difference, recipe_difference
from analysis.rates import wilson_rate

Floats = NDArray[np.float64]
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
RESPONSE_SD = 1.0
TRAINED_SD = float(np.hypot(1.0, RESPONSE_SD))
NUM_REPEATS = 2000
CHUNK = 250


class World(NamedTuple):
    """One design and one truth."""

    num_prompts: int
    num_families: int
    rate: float
    seed_sd: float = 0.0
    gain: float = 0.0
    num_samples: int = 1
    num_seeds: int = 3


class Runs(NamedTuple):
    """An untrained model against one trained run, many times."""

    baseline: Floats
    trained: Floats
    true_difference: Floats
    """Of each run, its own seed included."""
    families: NDArray[np.int64]


class Recipes(NamedTuple):
    """Two recipes with several seeds each, and an untrained model, many times."""

    ours: Floats
    theirs: Floats
    baseline: Floats
    families: NDArray[np.int64]


class RunErrors(NamedTuple):
    """Shares of the repeats."""

    missed: float
    """The 95% interval misses the run's own difference."""
    missed_rate: float
    """The Wilson interval misses the baseline's rate."""
    naive_false: float
    """A paired t test over prompts rejects the run's own null."""
    as_recipe_false: float
    """The run's p, read as a verdict about the recipe, rejects the recipe's null."""


class RecipeErrors(NamedTuple):
    """Shares of the repeats."""

    missed: float
    """The 95% interval misses the difference of two trained recipes."""
    missed_baseline: float
    """The 95% interval misses the gain over the untrained model."""
    without_seeds_false: float
    """The clustered test of seed-averaged prompts rejects a null between recipes."""


def run_errors(world: World, *, seed: int) -> RunErrors:
    drawn = simulate_runs(world, rng=np.random.default_rng(seed))
    found = paired_difference(drawn.trained, drawn.baseline, drawn.families)
    low, high = interval(found)
    rate = wilson_rate(
        drawn.baseline, drawn.families, num_completions=world.num_prompts * world.num_samples
    )
    naive = stats.ttest_rel(drawn.trained, drawn.baseline, axis=-1).pvalue
    return RunErrors(
        missed=missed(low, high, drawn.true_difference),
        missed_rate=missed(rate.low, rate.high, np.asarray(world.rate)),
        naive_false=float(np.mean(naive < 0.05)),
        as_recipe_false=float(np.mean(found.p < 0.05)),
    )


def recipe_errors(world: World, *, seed: int) -> RecipeErrors:
    rng = np.random.default_rng(seed)
    counts = np.zeros(3)
    for _ in range(NUM_REPEATS // CHUNK):
        drawn = simulate_recipes(world, rng=rng)
        between = recipe_difference(drawn.ours, drawn.theirs, drawn.families)
        gain = recipe_difference(
            drawn.ours, drawn.baseline, drawn.families, is_theirs_baseline=True
        )
        unseeded = paired_difference(
            drawn.ours.mean(axis=1), drawn.theirs.mean(axis=1), drawn.families
        )
        counts += CHUNK * np.array(
            [
                missed(*interval(between), np.asarray(0.0)),
                missed(*interval(gain), np.asarray(world.gain)),
                float(np.mean(unseeded.p < 0.05)),
            ]
        )
    return RecipeErrors(*(counts / NUM_REPEATS))


def missed(low: Floats, high: Floats, truth: Floats) -> float:
    return float(np.mean((truth < low) | (truth > high)))


def simulate_runs(world: World, *, rng: np.random.Generator) -> Runs:
    families = family_labels(world, rng)
    mu = intercept(world.rate + world.gain, TRAINED_SD)
    difficulty, response = rng.normal(size=(2, NUM_REPEATS, world.num_families))
    seeds = world.seed_sd * rng.normal(size=(NUM_REPEATS, 1))
    baseline = answers(intercept(world.rate, 1.0) + difficulty, families, world, rng)
    trained = answers(mu + difficulty + RESPONSE_SD * response + seeds, families, world, rng)
    own_rate = expit(mu + seeds + TRAINED_SD * NODES) @ WEIGHTS
    return Runs(baseline, trained, own_rate - world.rate, families)


def simulate_recipes(world: World, *, rng: np.random.Generator) -> Recipes:
    """Draw one chunk of repeats."""
    families = family_labels(world, rng)
    mu = intercept(world.rate + world.gain, float(np.hypot(TRAINED_SD, world.seed_sd)))
    difficulty = rng.normal(size=(CHUNK, 1, world.num_families))

    def side() -> Floats:
        response = RESPONSE_SD * rng.normal(size=(CHUNK, 1, world.num_families))
        seeds = world.seed_sd * rng.normal(size=(CHUNK, world.num_seeds, 1))
        return answers(mu + difficulty + response + seeds, families, world, rng)

    baseline = answers(intercept(world.rate, 1.0) + difficulty, families, world, rng)
    return Recipes(side(), side(), baseline[:, 0, :], families)


def family_labels(world: World, rng: np.random.Generator) -> NDArray[np.int64]:
    shares = rng.gamma(4.0, size=world.num_families)
    spare = world.num_prompts - world.num_families
    sizes = 1 + rng.multinomial(spare, shares / shares.sum())
    return np.repeat(np.arange(world.num_families), sizes)


def answers(
    logits: Floats, families: NDArray[np.int64], world: World, rng: np.random.Generator
) -> Floats:
    """(..., G) logits -> (..., P) means over the samples of each prompt."""
    chances = expit(logits).astype(np.float32)[..., families]
    right = np.zeros(chances.shape)
    for _ in range(world.num_samples):
        right += rng.random(chances.shape, dtype=np.float32) < chances
    return right / world.num_samples


def intercept(rate: float, sd: float) -> float:
    """Solve E[expit(mu + sd * Z)] = rate for mu."""
    return float(optimize.brentq(lambda mu: expit(mu + sd * NODES) @ WEIGHTS - rate, -20, 20))


def report() -> Iterator[str]:
    head = "prompts families samples seed_sd"
    names = "missed_run missed_rate naive as_recipe missed_recipe missed_gain without_seeds"
    yield f"{head} {names}   (% of {NUM_REPEATS}; worst of the rates 0.05 to 0.95)"
    designs = ((1000, 24), (1000, 140), (60, 24))
    for design, samples, seed_sd in product(designs, (1, 4), (0.0, 0.2, 0.5)):
        found = [
            (*run_errors(world, seed=index), *recipe_errors(world, seed=index))
            for index, rate in enumerate((0.05, 0.2, 0.5, 0.8, 0.95))
            for world in [World(*design, rate, seed_sd, num_samples=samples)]
        ]
        ranges = (f"{100 * min(x):.1f}-{100 * max(x):.1f}" for x in zip(*found, strict=True))
        yield " ".join(map(str, (*design, samples, seed_sd, *ranges)))


if __name__ == "__main__":
    for line in report():
        sys.stdout.write(f"{line}\n")
