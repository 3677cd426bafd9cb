"""Measured runs: a run with its table of prompts, and the comparison of two groups of runs.

Whether runs may be compared is decided by their keys and prompts. Callers choose the groups: a
trial and its baseline, the seeds of two cells, a cell and a control. With three seeds or more on
each trained side a difference is about the recipe, else about these runs. What a difference is
called is decided in ``verdicts``.

Shapes: S = seeds, P = prompts.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.differences import (
    MIN_SEEDS,
    Difference,
    interval,
    paired_difference,
    recipe_difference,
)
from analysis.families import Floats
from analysis.rates import pass_at_k, pass_hat_k, wilson_rate
from analysis.records import Key, RunRecord, RunState, check_same_prompts
from strictune.config.naming import short_model_name
from strictune.errors import SpecError, StorageError
from strictune.records import PlannedTrial

__all__ = [
    "ALL_DIFFICULTIES",
    "FACTORS",
    "Group",
    "Interval",
    "Measured",
    "SampledRate",
    "average",
    "check_baseline_key",
    "check_comparable",
    "compare",
    "compare_gains",
    "comparison_problem",
    "difference",
    "differing_factors",
    "differing_parts",
    "group",
    "level_text",
    "level_texts",
    "mean_interval",
    "measure",
    "parts",
    "rate_intervals",
]

ALL_DIFFICULTIES = "all"

FACTORS = ("model", "thinking", "curriculum", "method", "variant")
"""The keys that make a cell."""

_CRITERION, _MEASURE = "criterion/", "measure/"


class Interval(NamedTuple):
    """A rate with its 95% interval; bounds are NaN where all prompts are of one family."""

    estimate: float
    low: float
    high: float


class SampledRate(NamedTuple):
    """Rates over k samples of each prompt."""

    k: int
    pass_at_k: float
    """At least one of k is right."""
    pass_hat_k: float
    """All of k are right."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A run and its results on its final split."""

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
        return self._columns(_CRITERION)

    @property
    def measures(self) -> tuple[str, ...]:
        """The task's measures beside criteria, in the order of the file."""
        return self._columns(_MEASURE)

    @property
    def num_completions(self) -> int:
        """All samples of all prompts."""
        return int(self.table["num_samples"].sum())

    def criterion(self, name: str) -> Floats:
        """Return each prompt's mean over its samples: (P,)."""
        return np.asarray(self.table[f"{_CRITERION}{name}"], dtype=np.float64)

    def measure(self, name: str) -> Floats:
        """Return each prompt's mean of a measure over its samples, NaN where unknown: (P,)."""
        return np.asarray(self.table[f"{_MEASURE}{name}"], dtype=np.float64)

    def mean(self, column: str) -> float:
        """Return the mean over prompts of a column such as ``num_tokens``."""
        return float(self.table[column].mean())

    def rate(self, criterion: str) -> Interval:
        """Return a criterion's Pass@1 with its interval."""
        values = self.criterion(criterion)[np.newaxis]
        return rate_intervals(values, self.families, num_completions=self.num_completions)[0]

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

    def _columns(self, prefix: str) -> tuple[str, ...]:
        names = map(str, self.table.columns)
        return tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def rate_intervals(
    prompt_means: Floats, families: Sequence[str], *, num_completions: int
) -> list[Interval]:
    """Return mean and interval of each row over prompts, see ``wilson_rate``: (K, P) -> K."""
    found = wilson_rate(prompt_means, families, num_completions=num_completions)
    rows = zip(found.estimate, found.low, found.high, strict=True)
    return [Interval(*map(float, row)) for row in rows]


def mean_interval(values: Floats, families: Sequence[str]) -> Interval | None:
    """Return the mean of a measure, or of a difference, over the prompts that have it: (P,).

    The interval is t, clustered by family. None where no prompt has it.
    """
    known = ~np.isnan(values)
    if not known.any():
        return None
    found = paired_difference(
        values[known], np.zeros(int(known.sum())), np.asarray(families)[known].tolist()
    )
    return Interval(float(found.estimate), *map(float, interval(found)))


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
    """Return each part in which two keys differ, with both values as text."""

    def shown(key: Key, part: str) -> str:
        return repr(key[part]) if part in key else "absent"

    found = {part: (shown(ours, part), shown(theirs, part)) for part in (*ours, *theirs)}
    return {part: values for part, values in found.items() if values[0] != values[1]}


def comparison_problem(runs: Sequence[Measured]) -> str | None:
    """Return why runs cannot all be compared with each other; None if they can."""
    try:
        for run in runs[1:]:
            check_comparable(run, runs[0], is_gain=False)
    except SpecError as error:
        return str(error)
    return None


def difference(ours: Measured, theirs: Measured, criterion: str) -> Difference:
    """Return the paired difference on a criterion; call ``check_comparable`` first."""
    return paired_difference(ours.criterion(criterion), theirs.criterion(criterion), ours.families)


class Group(NamedTuple):
    """One side of a comparison."""

    families: Sequence[str]
    """Of the prompts."""
    rates: Floats
    """(S, P)"""
    gains: Floats | None = None
    """(S, P), over the baseline; None where the runs do not share one."""
    is_trained: bool = True
    """False: one measurement of an untrained model, which has no seeds."""


def group(
    runs: Sequence[Measured],
    criterion: str,
    *,
    baselines: Sequence[Measured] = (),
    is_trained: bool = True,
) -> Group:
    """Put runs on the same prompts together.

    Args:
        runs: One or more.
        criterion: What they are compared on.
        baselines: Of the runs that have one. Gains are known only where all runs have the same:
            gains of fewer seeds than the rates beside them would speak of other runs.
        is_trained: See ``Group``.
    """
    rates = np.stack([run.criterion(criterion) for run in runs])
    is_shared = len(baselines) == len(runs) and len({b.record.folder for b in baselines}) == 1
    gains = rates - baselines[0].criterion(criterion) if is_shared else None
    return Group(runs[0].families, rates, gains, is_trained)


def average(groups: Sequence[Group]) -> Group:
    """Average groups prompt by prompt to one run; each counts the same, however many seeds."""

    def mean(sides: Sequence[Floats]) -> Floats:
        means = np.stack([side.mean(axis=0) for side in sides])
        return np.asarray(means.mean(axis=0, keepdims=True), dtype=np.float64)

    gains = [found.gains for found in groups if found.gains is not None]
    return Group(
        groups[0].families,
        mean([found.rates for found in groups]),
        mean(gains) if len(gains) == len(groups) else None,
    )


def compare(ours: Group, theirs: Group, *, part: NDArray[np.bool_] | None = None) -> Difference:
    """Return the difference of two groups' rates, over all prompts or those of a mask."""
    return _compare(ours, theirs, ours.rates, theirs.rates, part)


def compare_gains(
    ours: Group, theirs: Group, *, part: NDArray[np.bool_] | None = None
) -> Difference | None:
    """Return the difference of two groups' gains; None where one of them is not known."""
    if ours.gains is None or theirs.gains is None:
        return None
    return _compare(ours, theirs, ours.gains, theirs.gains, part)


def parts(measured: Measured) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield all prompts, then those of each difficulty, as masks."""
    difficulties = np.asarray(measured.table["difficulty"].astype(str))
    yield ALL_DIFFICULTIES, np.ones(len(difficulties), dtype=bool)
    for name in dict.fromkeys(difficulties.tolist()):
        yield name, difficulties == name


def differing_factors(first: PlannedTrial, second: PlannedTrial) -> list[str]:
    """Return the keys in which the cells of two trials differ."""
    return [key for key in FACTORS if getattr(first, key) != getattr(second, key)]


def level_text(plan: PlannedTrial, factor: str) -> str:
    """Return the name of a cell's value of one key, e.g. ``no-think``."""
    if factor == "thinking":
        return "think" if plan.thinking else "no-think"
    if factor == "model":
        return short_model_name(plan.model)
    return str(getattr(plan, factor) or "own settings")


def level_texts(ours: PlannedTrial, theirs: PlannedTrial, factor: str) -> tuple[str, str]:
    """Return the names of two cells' values of the key in which they differ.

    Models whose short names are equal keep their full ones.
    """
    texts = level_text(ours, factor), level_text(theirs, factor)
    if texts[0] == texts[1]:
        return str(getattr(ours, factor)), str(getattr(theirs, factor))
    return texts


def _check_keys(
    kind: str, ours: Key, theirs: Key, *, names: tuple[str, str], across: Collection[str]
) -> None:
    found = differing_parts(ours, theirs)
    listed = "; ".join(
        f"{part} is {mine} in {names[0]} but {other} in {names[1]}"
        for part, (mine, other) in found.items()
        if part not in across
    )
    if listed:
        raise SpecError(
            f"{names[0]} and {names[1]} cannot be compared, their {kind} keys differ: {listed}. "
            "Evaluate both sides the same way, then compare again."
        )


def _compare(
    ours: Group, theirs: Group, a: Floats, b: Floats, part: NDArray[np.bool_] | None
) -> Difference:
    families = ours.families
    if part is not None:
        a, b = a[:, part], b[:, part]
        families = np.asarray(families)[part].tolist()
    if min(len(side.rates) for side in (ours, theirs) if side.is_trained) < MIN_SEEDS:
        return paired_difference(a.mean(axis=0), b.mean(axis=0), families)
    if theirs.is_trained:
        return recipe_difference(a, b, families)
    return recipe_difference(a, b[0], families, is_theirs_baseline=True)
