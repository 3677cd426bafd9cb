"""A/A: how often this design calls different what is the same, one cell against itself.

Two trainings of one recipe with other seeds do not end alike, and a test that compares two runs
is right to call them different. Read as a finding about recipes that is a false call. How often it
happens is simulated from what the seeds of a cell show:

    x_(run, prompt) = delta_run + e_(seed, prompt)

with delta normal, of a variance that is drawn anew for each repeat as the seeds at hand leave it
open (scaled inverse chi-squared with S - 1 degrees of freedom; sampling noise taken out, as in
``recipe_difference``), and e, what seed and prompt leave unexplained, drawn with whole families
from these seeds. Both sides are then put through the test of the verdicts at 5%.

Three seeds know their spread badly. In simulated sweeps of 210 prompts whose true rate for two
runs is 5, 20 and 53%, the mean of what three seeds say is 13, 23 and 47%, and four sweeps of five
say 4 to 32, 4 to 52 and 5 to 73%.

Shapes: S = seeds, P = prompts, R = repeats.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from analysis.differences import MIN_SEEDS, paired_difference, recipe_difference, seed_variance
from analysis.families import Floats

__all__ = ["FalseCalls", "false_calls"]

NUM_REPEATS = 400
ALPHA = 0.05


class FalseCalls(NamedTuple):
    """One cell against itself."""

    num_pairs: int
    """Pairs of the seeds at hand."""
    num_called: int
    """Of these, how many the test calls different."""
    runs_frac: float
    """Of simulated pairs of runs, the share that is called different."""
    recipes_frac: float | None
    """Of simulated pairs of cells with as many seeds each; None below three seeds."""


def false_calls(rates: Floats, families: Sequence[str]) -> FalseCalls | None:
    """Compare a cell with itself, measured and simulated: rates (S, P), one family label a prompt.

    None with a single seed or family.
    """
    num_seeds = len(rates)
    if num_seeds < 2 or len(set(families)) < 2:
        return None
    called = [
        bool(paired_difference(rates[a], rates[b], families).p < ALPHA)
        for a, b in combinations(range(num_seeds), 2)
    ]
    runs = _simulated(rates, families, num_runs=2 * num_seeds)  # (R, 2 S, P)
    recipes_frac = None
    if num_seeds >= MIN_SEEDS:
        found = recipe_difference(runs[:, :num_seeds], runs[:, num_seeds:], families)
        recipes_frac = float((found.p < ALPHA).mean())
    pairs = paired_difference(runs[:, 0], runs[:, 1], families)
    return FalseCalls(len(called), sum(called), float((pairs.p < ALPHA).mean()), recipes_frac)


def _simulated(rates: Floats, families: Sequence[str], *, num_runs: int) -> Floats:
    """Draw runs of the cell, without what all of them have in common: (R, runs, P)."""
    rng = np.random.default_rng(0)
    num_seeds, num_prompts = rates.shape
    by_seed, by_prompt = rates.mean(axis=1, keepdims=True), rates.mean(axis=0)
    # Residuals of few seeds are too small by as much as their means have taken out.
    unexplained = (rates - by_seed - by_prompt + rates.mean()) * np.sqrt(
        num_seeds / (num_seeds - 1)
    )  # (S, P)
    labels, codes = np.unique(np.asarray(families), return_inverse=True)
    seeds = rng.integers(num_seeds, size=(NUM_REPEATS, num_runs, len(labels)))
    drawn: Floats = unexplained[seeds[..., codes], np.arange(num_prompts)]
    chi_squared = rng.chisquare(num_seeds - 1, size=(NUM_REPEATS, 1, 1))
    variance = num_seeds * seed_variance(rates) * (num_seeds - 1) / chi_squared
    by_run: Floats = np.sqrt(variance) * rng.normal(size=(NUM_REPEATS, num_runs, 1))
    return drawn + by_run
