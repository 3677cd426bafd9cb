"""A run with its table of prompts, and the check that two of them may be compared."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.differences import Difference, paired_difference
from analysis.families import Floats
from analysis.keys import check_baseline_key, check_evaluation_key
from analysis.rates import pass_at_k, pass_hat_k, wilson_rate
from analysis.records import (
    PlannedTrial,
    RunRecord,
    RunState,
    check_same_prompts,
    prompt_table,
    read_samples,
)
from strictune.errors import StorageError

__all__ = [
    "Interval",
    "Measured",
    "MeasuredTrial",
    "SampledRate",
    "check_comparable",
    "difference",
    "measure",
]


class Interval(NamedTuple):
    """A rate with its 95% interval; NaN bounds where a single family gives none."""

    estimate: float
    low: float
    high: float


class SampledRate(NamedTuple):
    """What several samples of one prompt give."""

    k: int
    pass_at_k: float
    """At least one of k is right."""
    pass_hat_k: float
    """All of k are right."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A run and what it answered on its final split."""

    record: RunRecord
    table: pd.DataFrame
    """One row per prompt, from ``prompt_table``."""

    @property
    def families(self) -> list[str]:
        """The family of each prompt."""
        # Not by iterating: a column of arrow strings hands out its items one by one, slowly.
        return list(map(str, self.table["family"].to_list()))

    @property
    def rungs(self) -> tuple[str, ...]:
        """The rungs that were scored, in the order of the file."""
        names = (str(name) for name in self.table.columns)
        return tuple(name.removeprefix("rung/") for name in names if name.startswith("rung/"))

    @property
    def measures(self) -> tuple[str, ...]:
        """What the task measured beside rungs, in the order of the file."""
        names = (str(name) for name in self.table.columns)
        return tuple(name.removeprefix("measure/") for name in names if name.startswith("measure/"))

    @property
    def num_completions(self) -> int:
        """All samples of all prompts."""
        return int(self.table["num_samples"].sum())

    def rung(self, name: str) -> Floats:
        """Return each prompt's mean over its samples: (P,)."""
        return np.asarray(self.table[f"rung/{name}"], dtype=np.float64)

    def measure(self, name: str) -> Floats:
        """Return each prompt's mean of a measure over its samples, NaN where unknown: (P,)."""
        return np.asarray(self.table[f"measure/{name}"], dtype=np.float64)

    def mean(self, column: str) -> float:
        """Return the mean over prompts of a measure such as ``num_tokens``."""
        return float(self.table[column].mean())

    def rate(self, rung: str) -> Interval:
        """Return a rung's Pass@1 with its interval."""
        found = wilson_rate(
            self.rung(rung), self.families, num_completions=self.num_completions, level=0.95
        )
        return Interval(float(found.estimate), float(found.low), float(found.high))

    def sampled_rates(self, rung: str) -> tuple[SampledRate, ...]:
        """Return a rung's pass@k and pass^k up to the fewest samples of a prompt.

        Empty for one sample a prompt, which says nothing beyond Pass@1.
        """
        num_samples = np.asarray(self.table["num_samples"], dtype=np.int64)
        num_correct = np.rint(self.rung(rung) * num_samples).astype(np.int64)
        fewest = int(num_samples.min())
        if fewest < 2:
            return ()
        return tuple(
            SampledRate(
                k,
                float(pass_at_k(num_correct, num_samples, k).mean()),
                float(pass_hat_k(num_correct, num_samples, k).mean()),
            )
            for k in range(1, fewest + 1)
        )

    def only(self, difficulty: str) -> "Measured":
        """Return the part of one difficulty."""
        return Measured(self.record, self.table[self.table["difficulty"] == difficulty])


class MeasuredTrial(NamedTuple):
    """A finished trial and the baseline beside it."""

    plan: PlannedTrial
    trial: Measured
    baseline: Measured | None


def measure(record: RunRecord) -> Measured:
    """Read the samples of a finished run's final split.

    Raises:
        StorageError: The run has not finished, or its samples are missing or cannot be used.
    """
    if record.state is not RunState.FINISHED:
        raise StorageError(f"{record.name} has no result: {record.standing}.")
    return Measured(record, prompt_table(read_samples(record.samples_file)))


def check_comparable(
    ours: Measured, theirs: Measured, *, is_gain: bool, across: Collection[str] = ()
) -> None:
    """Refuse a comparison that the keys forbid.

    Args:
        ours: One run.
        theirs: Another; the baseline of ``ours`` when ``is_gain``.
        is_gain: The difference will be called a gain over a baseline.
        across: Parts of the evaluation key that may differ.

    Raises:
        SpecError: A key or the prompts differ; the message says which part.
    """
    names = (ours.record.name, theirs.record.name)
    keys = ours.record.evaluation_key, theirs.record.evaluation_key
    check_evaluation_key(*keys, names=names, across=across)
    if is_gain:
        check_baseline_key(ours.record.baseline_key, theirs.record.baseline_key, names=names)
    check_same_prompts((ours.table, theirs.table), names=names)


def difference(ours: Measured, theirs: Measured, rung: str) -> Difference:
    """Return the paired difference on a rung; call ``check_comparable`` first."""
    return paired_difference(ours.rung(rung), theirs.rung(rung), ours.families)
