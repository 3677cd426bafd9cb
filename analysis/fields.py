"""Rates by field of expected documents: values that are right, wrong, missing or extra.

A field is a path in the expected answer, ``*`` for any position of an array. Exploratory.

Shapes: F = fields, P = prompts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from analysis.differences import paired_difference
from analysis.families import Floats
from analysis.measured import Interval, Measured, rate_intervals
from analysis.tables import Column, Row, Table, bounds, effect_in, rate_cells, rate_column
from analysis.verdicts import effect, effect_text

__all__ = ["FIELDS", "HOW_TO_READ", "field_rows"]

OUTCOMES = ("right", "wrong", "missing", "extra")
"""In the order of ``Score.fields``."""
MAX_FIELDS = 60
"""Those with the most expected values; the others are counted together."""
OTHERS = "(other fields)"

HOW_TO_READ = (
    "Of a field, right, wrong and missing are shares of its expected values, and a completion "
    "without a document misses all; extra is the share of completions with a value there that "
    "nobody expected.",
)


FIELDS = Table(
    "fields",
    "Fields of the answer, with 95% intervals; exploratory",
    (
        Column("field", "field"),
        Column("side", "side"),
        Column("expected values", "num_values"),
        *map(rate_column, OUTCOMES),
        Column("right, difference", effect_in, effect_text),
    ),
)


def field_rows(sides: Mapping[str, Measured]) -> list[Row]:
    """Return one row for each field and side; none where answers are not known.

    Args:
        sides: Runs on the same prompts; the last one is compared with the first.

    Returns:
        ``num_values`` expected in ``num_prompts`` prompts; ``right``, ``wrong`` and ``missing``
        (means over these prompts of each one's share) and ``extra`` (over all prompts), with
        ``_low`` and ``_high``; on the last of several sides the paired difference of ``right``.
        Fields stand in the order of the answers.
    """
    runs = list(sides.values())
    if any("fields" not in run.record.samples for run in runs):
        return []
    parsed = [[json.loads(text) for text in run.record.samples["fields"]] for run in runs]
    names = _names(chain.from_iterable(parsed))
    counts = [_counts(run, found, names) for run, found in zip(runs, parsed, strict=True)]
    rows: list[Row] = []
    for index, name in enumerate(names):
        for side, run, count in zip(sides, runs, counts, strict=True):
            rows.append({"field": name or "(document)", "side": side, **_rates(count[index], run)})
        is_expected = _expected(counts[0][index]) > 0
        if len(runs) > 1 and is_expected.any():
            before, after = (
                (count[index] / _expected(count[index]))[0, is_expected]
                for count in (counts[0], counts[-1])
            )
            families = runs[0].table["family"][is_expected].to_list()
            rows[-1] |= bounds(effect(paired_difference(after, before, families)))
    return rows


def _names(completions: Iterable[Mapping[str, Sequence[int]]]) -> list[str]:
    """Return the fields that are shown, in the order of the answers; ``OTHERS`` last."""
    expected: Counter[str] = Counter()
    for fields in completions:
        for name, counts in fields.items():
            expected[name] += sum(counts[:3])
    most = {name for name, _ in expected.most_common(MAX_FIELDS)}
    names = [name for name in expected if name in most]
    return names if len(names) == len(expected) else [*names, OTHERS]


def _counts(
    run: Measured, completions: Sequence[Mapping[str, Sequence[int]]], names: Sequence[str]
) -> Floats:
    """Add up by field and prompt: (F, 4, P) in the order of ``OUTCOMES``, extra by completion."""
    rows = {name: index for index, name in enumerate(names)}
    places = {prompt: index for index, prompt in enumerate(run.table.index)}
    found = np.zeros((len(names), len(OUTCOMES), len(places)))
    for prompt, fields in zip(run.record.samples["prompt_id"], completions, strict=True):
        place, extra = places[prompt], set()
        for name, counts in fields.items():
            row = rows.get(name, len(names) - 1)
            found[row, :3, place] += counts[:3]
            if counts[3]:
                extra.add(row)
        found[list(extra), 3, place] += 1
    return found


def _expected(counts: Floats) -> Floats:
    """Return how many values of a field each prompt expects, NaN for none: (P,)."""
    expected = counts[:3].sum(axis=0)
    return np.where(expected > 0, expected, np.nan)


def _rates(counts: Floats, run: Measured) -> Row:
    expected = _expected(counts)
    is_expected = expected > 0
    shares = counts[:3, is_expected] / expected[is_expected]
    extra = counts[3:] / np.asarray(run.table["num_samples"])
    found = [*_intervals(shares, run.table[is_expected]), *_intervals(extra, run.table)]
    row: Row = {"num_prompts": len(shares[0]), "num_values": int(np.nansum(expected))}
    for outcome, rate in zip(OUTCOMES, found, strict=True):
        row |= rate_cells(outcome, rate)
    return row


def _intervals(shares: Floats, table: pd.DataFrame) -> list[Interval]:
    """Return the rate of each row of shares over the prompts of a table."""
    if table.empty:
        return [Interval(np.nan, np.nan, np.nan)] * len(shares)
    num_completions = int(table["num_samples"].sum())
    return rate_intervals(shares, table["family"].to_list(), num_completions=num_completions)
