"""Draws training prompts where the completions of a group can still differ in success.

The pass rate of each family of prompts has a Beta posterior. What the model answers in training
feeds it, and is forgotten with half-life ``HALF_LIFE_FRAC``, because the model changes; its prior
is the running rate of the family's difficulty. A family is drawn in proportion to the probability
that a group of its completions has both passes and failures; a share of the draws, ``FLOOR``,
takes every prompt alike, so that none is lost from sight. Evaluations play no part.
"""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainables.tasks.task import Prompt

__all__ = ["FLOOR", "AdaptivePool", "mixed_probability"]

Floats = npt.NDArray[np.float64]

FLOOR = 0.1
"""Share of the draws that takes every prompt alike."""
HALF_LIFE_FRAC = 0.2
"""Share of a stage's completions after which one counts half."""
PRIOR = 2.0
"""Completions that the rate of its difficulty is worth in a family's."""
LOW, HIGH = 0.2, 0.8
"""Pass rates of families between which most groups are mixed; for metrics only."""
POOLS = ("low", "mid", "high")


def mixed_probability(passed: Floats, failed: Floats, *, group_size: int) -> Floats:
    """Return how likely a group has both: parameters of Beta distributions, (F,) -> (F,).

    The pass rate is integrated out, so that all-pass and all-fail are beta-binomial.
    """
    all_pass = all_fail = np.ones_like(passed)
    for number in range(group_size):
        total = passed + failed + number
        all_pass = all_pass * (passed + number) / total
        all_fail = all_fail * (failed + number) / total
    return 1.0 - all_pass - all_fail


class AdaptivePool:
    """The training prompts of one stage, of F families and D difficulties.

    What is drawn depends on the seed and on ``counts`` alone.
    """

    def __init__(
        self, prompts: Sequence[Prompt], *, group_size: int, num_completions: int, seed: str
    ) -> None:
        """Begin without having seen anything; the stage has about ``num_completions``."""
        self._prompts = prompts
        self._group_size = group_size
        self._half_life = HALF_LIFE_FRAC * num_completions
        self._seed = seed
        decks: dict[tuple[str, str], list[int]] = {}
        for index, prompt in enumerate(prompts):
            decks.setdefault((prompt.difficulty, prompt.family), []).append(index)
        shuffle = random.Random(seed)
        self._decks = [shuffle.sample(deck, len(deck)) for deck in decks.values()]
        self._sizes = np.array([len(deck) for deck in self._decks], dtype=np.float64)  # (F,)
        self._places = {key: place for place, key in enumerate(decks)}
        self._names = list(dict.fromkeys(difficulty for difficulty, _ in decks))
        self._difficulties = np.array([self._names.index(name) for name, _ in decks])  # (F,)
        self.counts: Floats = np.zeros((3, len(decks)))
        """Of each family the completions that passed and failed, as far as they are not forgotten,
        and all groups that it ever had: (3, F)."""

    def draw(self, count: int) -> list[int]:
        """Return the places of so many prompts, those of a family in turn."""
        generator = random.Random(f"{self._seed}/{self.counts[2].sum():.0f}")
        families = generator.choices(range(len(self._decks)), self.shares().tolist(), k=count)
        turns = Counter(dict(enumerate(self.counts[2].astype(int).tolist())))
        drawn = []
        for family in families:
            drawn.append(self._decks[family][turns[family] % len(self._decks[family])])
            turns[family] += 1
        return drawn

    def observe(self, prompts: Sequence[Prompt], passed: Sequence[bool | None]) -> None:
        """Count completions, those of a group side by side; None is one that was not scored."""
        self.counts[:2] *= 0.5 ** (len(prompts) / self._half_life)
        for number, (prompt, holds) in enumerate(zip(prompts, passed, strict=True)):
            family = self._places[prompt.difficulty, prompt.family]
            self.counts[2, family] += number % self._group_size == 0
            if holds is not None:
                self.counts[0 if holds else 1, family] += 1

    def shares(self) -> Floats:
        """Return the share of the draws that each family has: (F,), together 1."""
        alike = self._sizes / self._sizes.sum()
        mixed = alike * mixed_probability(*self._posterior(), group_size=self._group_size)
        shares: Floats = FLOOR * alike + (1 - FLOOR) * mixed / mixed.sum()
        return shares

    def metrics(self, drawn: Sequence[int]) -> dict[str, float]:
        """Say what was drawn, and from what.

        ``drawn_frac/<difficulty>`` and ``pass_rate/<difficulty>``, the running rate; and
        ``prompts_frac/low``, ``/mid`` and ``/high``, the share of the training prompts whose
        families have a pass rate below ``LOW``, between, and from ``HIGH`` on.
        """
        counted = Counter(self._prompts[index].difficulty for index in drawn)
        passed, failed = self._posterior()
        pools = np.digitize(passed / (passed + failed), (LOW, HIGH))
        sizes = np.bincount(pools, weights=self._sizes, minlength=3) / self._sizes.sum()
        rates = zip(self._names, self._difficulty_rates().tolist(), strict=True)
        return {
            **{f"drawn_frac/{name}": counted[name] / len(drawn) for name in self._names},
            **{f"pass_rate/{name}": rate for name, rate in rates},
            **{f"prompts_frac/{name}": float(sizes[i]) for i, name in enumerate(POOLS)},
        }

    def _posterior(self) -> tuple[Floats, Floats]:
        """Return the parameters of the families' Beta distributions."""
        rates = self._difficulty_rates()[self._difficulties]  # (F,)
        return self.counts[0] + PRIOR * rates, self.counts[1] + PRIOR * (1 - rates)

    def _difficulty_rates(self) -> Floats:
        """Return the running pass rate of each difficulty: (D,), near one half while unknown."""
        passed, failed = (
            np.bincount(self._difficulties, weights=row, minlength=len(self._names))
            for row in self.counts[:2]
        )
        return (1.0 + passed) / (2.0 + passed + failed)
