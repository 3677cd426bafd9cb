"""A run with its table of prompts, and the check that two of them may be compared."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.differences import Difference, paired_difference
from analysis.families import Floats
from analysis.rates import pass_at_k, pass_hat_k, wilson_rate
from analysis.records import Key, RunRecord, RunState, check_same_prompts
from strictune.errors import SpecError, StorageError

__all__ = [
    "Interval",
    "Measured",
    "SampledRate",
    "check_baseline_key",
    "check_comparable",
    "difference",
    "differing_parts",
    "measure",
    "rate_interval",
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
    def criteria(self) -> tuple[str, ...]:
        """The criteria that were scored, in the order of the file."""
        names = (str(name) for name in self.table.columns)
        return tuple(
            name.removeprefix("criterion/") for name in names if name.startswith("criterion/")
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """What the task measured beside criteria, in the order of the file."""
        names = (str(name) for name in self.table.columns)
        return tuple(name.removeprefix("measure/") for name in names if name.startswith("measure/"))

    @property
    def num_completions(self) -> int:
        """All samples of all prompts."""
        return int(self.table["num_samples"].sum())

    def criterion(self, name: str) -> Floats:
        """Return each prompt's mean over its samples: (P,)."""
        return np.asarray(self.table[f"criterion/{name}"], dtype=np.float64)

    def measure(self, name: str) -> Floats:
        """Return each prompt's mean of a measure over its samples, NaN where unknown: (P,)."""
        return np.asarray(self.table[f"measure/{name}"], dtype=np.float64)

    def mean(self, column: str) -> float:
        """Return the mean over prompts of a measure such as ``num_tokens``."""
        return float(self.table[column].mean())

    def rate(self, criterion: str) -> Interval:
        """Return a criterion's Pass@1 with its interval."""
        return rate_interval(
            self.criterion(criterion), self.families, num_completions=self.num_completions
        )

    def sampled_rates(self, criterion: str) -> tuple[SampledRate, ...]:
        """Return a criterion's pass@k and pass^k up to the fewest samples of a prompt.

        Empty for one sample a prompt, which says nothing beyond Pass@1.
        """
        num_samples = np.asarray(self.table["num_samples"], dtype=np.int64)
        num_correct = np.rint(self.criterion(criterion) * num_samples).astype(np.int64)
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


def rate_interval(
    prompt_means: Floats, families: Sequence[str], *, num_completions: int
) -> Interval:
    """Return the mean over prompts with its interval, see ``wilson_rate``; (P,)."""
    found = wilson_rate(prompt_means, families, num_completions=num_completions)
    return Interval(float(found.estimate), float(found.low), float(found.high))


def measure(record: RunRecord) -> Measured:
    """Read the samples of a finished run's final split.

    Raises:
        StorageError: The run has not finished, or its samples are missing or cannot be used.
    """
    if record.state is not RunState.FINISHED:
        raise StorageError(f"{record.name} has no result: {record.standing}.")
    return Measured(record, record.table)


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
    _check_keys("evaluation", *keys, names=names, across=across)
    if is_gain:
        check_baseline_key(ours.record, theirs.record)
    check_same_prompts((ours.table, theirs.table), names=names)


def check_baseline_key(ours: RunRecord, theirs: RunRecord, *, across: Collection[str] = ()) -> None:
    """Refuse to call the difference of two results a gain over a baseline.

    Raises:
        SpecError: A part of their baseline keys differs; the message names it with both values.
    """
    names = (ours.name, theirs.name)
    _check_keys("baseline", ours.baseline_key, theirs.baseline_key, names=names, across=across)


def differing_parts(ours: Key, theirs: Key) -> dict[str, tuple[str, str]]:
    """Return each part in which two keys differ with both values as shown to people."""

    def shown(key: Key, part: str) -> str:
        return repr(key[part]) if part in key else "absent"

    parts = {part: (shown(ours, part), shown(theirs, part)) for part in (*ours, *theirs)}
    return {part: values for part, values in parts.items() if values[0] != values[1]}


def _check_keys(
    kind: str, ours: Key, theirs: Key, *, names: tuple[str, str], across: Collection[str]
) -> None:
    parts = differing_parts(ours, theirs).items()
    found = {part: values for part, values in parts if part not in across}
    if found:
        listed = "; ".join(
            f"{part} is {mine} in {names[0]} but {other} in {names[1]}"
            for part, (mine, other) in found.items()
        )
        raise SpecError(
            f"{names[0]} and {names[1]} cannot be compared, their {kind} keys differ: {listed}. "
            "Evaluate both sides the same way, then compare again."
        )


def difference(ours: Measured, theirs: Measured, criterion: str) -> Difference:
    """Return the paired difference on a criterion; call ``check_comparable`` first."""
    return paired_difference(ours.criterion(criterion), theirs.criterion(criterion), ours.families)
