"""Summarizes a task's splits: counts, lengths and overlaps.

Lengths are in characters and words, and in tokens for each token counter that the caller passes.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from random import Random
from statistics import median_low
from types import MappingProxyType

from trainables.tasks.task import SPLITS, Prompt, Split

__all__ = ["DataSummary", "Lengths", "SplitSummary", "TierSummary", "TokenCounter", "summarize"]

TokenCounter = Callable[[Prompt], int]

FAMILY_SIZE_COUNTED = 3
"""The smallest family that ``num_families_of_three`` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Quantiles of a list of lengths."""

    median: int
    p95: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSummary:
    """The prompts of one difficulty."""

    num_prompts: int
    num_families: int
    num_families_of_three: int
    """Families with three prompts or more."""
    prompt_lengths: Mapping[str, Lengths]
    """By unit: ``chars`` and ``words`` of the instruction, ``tokens <name>`` for each token
    counter."""
    gold_chars: Lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split."""

    num_prompts: int
    num_families: int
    num_families_of_three: int
    """Families with three prompts or more."""
    difficulties: Mapping[str, TierSummary]
    constructs: Mapping[str, int]
    """The number of prompts that use each construct, most used first."""
    samples: tuple[Mapping[str, object], ...] = field(repr=False)
    """Example prompts, with everything that scoring reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """All splits, and what they have in common, which should be nothing."""

    splits: Mapping[str, SplitSummary]
    num_shared_families: Mapping[str, int]
    """The number of families in both splits, by pair, e.g. ``train and test``."""
    num_shared_prompts: Mapping[str, int]
    """The number of instruction texts in both splits, by pair."""


def summarize(
    splits: Mapping[Split, Sequence[Prompt]],
    *,
    num_samples: int = 2,
    token_counters: Mapping[str, TokenCounter] = MappingProxyType({}),
) -> DataSummary:
    """Summarize the splits.

    Args:
        splits: The prompts of all splits.
        num_samples: How many prompts of each difficulty to include in full.
        token_counters: Functions that count a prompt's tokens, by tokenizer name.
    """
    families = {split: {prompt.family for prompt in splits[split]} for split in SPLITS}
    texts = {split: {prompt.text for prompt in splits[split]} for split in SPLITS}
    pairs = [(f"{one} and {two}", one, two) for one, two in combinations(SPLITS, 2)]
    return DataSummary(
        splits={
            split: _split_summary(splits[split], num_samples, token_counters) for split in SPLITS
        },
        num_shared_families={name: len(families[one] & families[two]) for name, one, two in pairs},
        num_shared_prompts={name: len(texts[one] & texts[two]) for name, one, two in pairs},
    )


def _split_summary(
    prompts: Sequence[Prompt], num_samples: int, token_counters: Mapping[str, TokenCounter]
) -> SplitSummary:
    tiers: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        tiers.setdefault(prompt.difficulty, []).append(prompt)
    constructs = Counter(construct for prompt in prompts for construct in prompt.constructs)
    rng = Random(0)
    samples = [
        _sample(prompt)
        for tier in tiers.values()
        for prompt in rng.sample(tier, min(num_samples, len(tier)))
    ]
    return SplitSummary(
        num_prompts=len(prompts),
        num_families=len({prompt.family for prompt in prompts}),
        num_families_of_three=_count_families_of_three(prompts),
        difficulties={name: _tier_summary(tier, token_counters) for name, tier in tiers.items()},
        constructs=dict(constructs.most_common()),
        samples=tuple(samples),
    )


def _tier_summary(
    prompts: Sequence[Prompt], token_counters: Mapping[str, TokenCounter]
) -> TierSummary:
    lengths = {
        "chars": _lengths([len(prompt.text) for prompt in prompts]),
        "words": _lengths([len(prompt.text.split()) for prompt in prompts]),
    }
    for name, count in token_counters.items():
        lengths[f"tokens {name}"] = _lengths([count(prompt) for prompt in prompts])
    return TierSummary(
        num_prompts=len(prompts),
        num_families=len({prompt.family for prompt in prompts}),
        num_families_of_three=_count_families_of_three(prompts),
        prompt_lengths=lengths,
        gold_chars=_lengths([len(prompt.gold or "") for prompt in prompts]),
    )


def _count_families_of_three(prompts: Sequence[Prompt]) -> int:
    sizes = Counter(prompt.family for prompt in prompts)
    return sum(size >= FAMILY_SIZE_COUNTED for size in sizes.values())


def _lengths(values: Sequence[int]) -> Lengths:
    ordered = sorted(values)
    return Lengths(
        median=median_low(ordered),
        p95=ordered[int(0.95 * (len(ordered) - 1))],
        max=ordered[-1],
    )


def _sample(prompt: Prompt) -> dict[str, object]:
    """Return a prompt with everything that scoring reads of it."""
    return {
        "id": prompt.id,
        "prompt": prompt.text,
        "difficulty": prompt.difficulty,
        "family": prompt.family,
        **{name: _parsed(text) for name, text in prompt.columns.items()},
        "gold": prompt.gold,
    }


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
