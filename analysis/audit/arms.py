"""The arms of an audit: completions of one setup, averaged over the samples of each prompt.

Tables in, tables out. An arm and its baseline are two values of one column that agree on
every other column; two arms are paired on the prompts that both answered.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.families import Floats
from analysis.measured import Interval
from analysis.rates import wilson_rate
from strictune.errors import SpecError

__all__ = [
    "Arm",
    "BaselineIs",
    "Pair",
    "baselines_of",
    "completion_table",
    "contrast_pairs",
    "pair",
    "read_arms",
]

ROWS_PER_PART = 10_000

_MEASURES = ("is_thinking", "num_characters", "num_values")
_MEASURED_PREFIXES = ("rung/", "reward/", "share/", "in_training/")


class BaselineIs(NamedTuple):
    """Which arms are baselines: those whose ``column`` holds ``value``."""

    column: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """All completions of one setup."""

    columns: dict[str, str]
    """What names the arm, in the order asked for."""
    is_thinking_asked: bool
    """All of its prompts asked for a think block."""
    counts: dict[str, int]
    """Completions on each rung."""
    num_completions: int
    table: pd.DataFrame
    """One row per prompt, sorted by prompt_id (the index): family, and means over samples."""

    @property
    def name(self) -> str:
        """The arm in words: values that say nothing alone stand behind their column."""
        parts = (
            value if _is_word(value) else f"{column}={value}"
            for column, value in self.columns.items()
        )
        return ", ".join(parts) or "all"

    def rate(self, rung: str) -> Interval:
        """Return a rung's Pass@1 with its interval."""
        found = wilson_rate(
            self.values(f"rung/{rung}"),
            list(self.table["family"]),
            num_completions=self.num_completions,
        )
        return Interval(float(found.estimate), float(found.low), float(found.high))

    def values(self, column: str) -> Floats:
        """Return each prompt's mean over its samples: (P,)."""
        return np.asarray(self.table[column], dtype=np.float64)

    def mean(self, column: str) -> float:
        """Return the mean over the prompts that have the measure; NaN without one."""
        return float(self.table[column].mean())


class Pair(NamedTuple):
    """Two arms on the prompts that both answered."""

    ours: Arm
    theirs: Arm
    num_unpaired: int
    """Prompts that only one of the two answered; they are left out."""

    def side(self, column: str) -> tuple[Floats, Floats, list[str]]:
        """Return both sides and the families, where both sides have the measure."""
        joined = pd.concat(
            {
                "ours": self.ours.table[column],
                "theirs": self.theirs.table[column],
                "family": self.ours.table["family"],
            },
            axis=1,
            join="inner",
        ).dropna()
        ours, theirs = (np.asarray(joined[name], dtype=np.float64) for name in ("ours", "theirs"))
        return ours, theirs, [str(family) for family in joined["family"]]


def completion_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Gather rows into a table, part by part: a row of numbers takes a tenth of its mapping."""
    waiting = iter(rows)
    parts = []
    while part := list(islice(waiting, ROWS_PER_PART)):
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def read_arms(rows: pd.DataFrame) -> tuple[Arm, ...]:
    """Split a table of completions into arms, in order of appearance.

    Args:
        rows: One row a completion: ``arm/<column>``, prompt_id, family, is_thinking_asked,
            and measures.
    """
    names = [str(name) for name in rows.columns if str(name).startswith("arm/")]
    if not names:
        return (_arm({}, rows),)
    return tuple(
        _arm({name.removeprefix("arm/"): str(part[name].iloc[0]) for name in names}, part)
        for _, part in rows.groupby(names, sort=False)
    )


def baselines_of(arms: Sequence[Arm], baseline: BaselineIs) -> dict[str, Arm]:
    """Return the baseline of each trained arm that has one, by the arm's name.

    Raises:
        SpecError: No arm is a baseline.
    """
    found = {}
    untrained = [arm for arm in arms if _is_baseline(arm, baseline)]
    if not untrained:
        values = dict.fromkeys(arm.columns[baseline.column] for arm in arms)
        raise SpecError(
            f"--baseline {baseline.column}={baseline.value}: no completion has this value, "
            f"expected one of {', '.join(values)}."
        )
    for arm in arms:
        if not _is_baseline(arm, baseline):
            same = [one for one in untrained if _differing(arm, one) == [baseline.column]]
            if same:
                found[arm.name] = same[0]
    return found


def contrast_pairs(arms: Sequence[Arm], column: str) -> list[tuple[Arm, Arm]]:
    """List the arms that differ in one column alone, the later arm first."""
    return [
        (later, earlier)
        for number, earlier in enumerate(arms)
        for later in arms[number + 1 :]
        if _differing(later, earlier) == [column]
    ]


def pair(ours: Arm, theirs: Arm) -> Pair:
    """Put two arms side by side.

    Raises:
        SpecError: They share no prompt.
    """
    shared = len(ours.table.index.intersection(theirs.table.index))
    if not shared:
        raise SpecError(
            f"{ours.name} and {theirs.name} share no prompt, so that they cannot be compared. "
            "Choose other columns with --by, or another --baseline."
        )
    return Pair(ours, theirs, len(ours.table) + len(theirs.table) - 2 * shared)


def _arm(columns: dict[str, str], rows: pd.DataFrame) -> Arm:
    measured = [
        str(name)
        for name in rows.columns
        if str(name) in _MEASURES or str(name).startswith(_MEASURED_PREFIXES)
    ]
    groups = rows.groupby("prompt_id", sort=True)
    rungs = [name for name in measured if name.startswith("rung/")]
    return Arm(
        columns=columns,
        is_thinking_asked=bool(rows["is_thinking_asked"].all()),
        counts={name.removeprefix("rung/"): int(rows[name].sum()) for name in rungs},
        num_completions=len(rows),
        table=groups[["family"]].first().join(groups[measured].mean()),
    )


def _is_baseline(arm: Arm, baseline: BaselineIs) -> bool:
    return arm.columns[baseline.column] == baseline.value


def _differing(first: Arm, second: Arm) -> list[str]:
    return [column for column in first.columns if first.columns[column] != second.columns[column]]


def _is_word(value: str) -> bool:
    """Whether a value speaks for itself: not ``true``, ``3`` or ``null``."""
    try:
        json.loads(value)
    except ValueError:
        return True
    return False
