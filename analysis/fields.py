"""Rates by field of expected documents: which values a model gets right, wrong, not at all.

A field is a path in the expected answer, ``*`` for any position of an array. Exploratory,
whatever an interval says.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.differences import paired_difference
from analysis.measured import Interval, Measured, rate_interval
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
    counted = {side: _counts(run.record.samples) for side, run in sides.items()}
    frequent = pd.concat(list(counted.values())).groupby("field", sort=False)["expected"].sum()
    names = list(frequent.sort_values(ascending=False, kind="stable").index[:MAX_FIELDS])
    names = [name for name in frequent.index if name in set(names)]
    if len(names) < len(frequent):
        names.append(OTHERS)
    by_prompt = {side: _by_prompt(counts, set(names)) for side, counts in counted.items()}
    rows = []
    for name in names:
        shares = [_shares(by_prompt[side], name, run) for side, run in sides.items()]
        found = [
            {"field": name or "(document)", "side": side, **_rates(share, run)}
            for (side, run), share in zip(sides.items(), shares, strict=True)
        ]
        before, after = shares[0]["right"].dropna(), shares[-1]["right"].dropna()
        if len(runs) > 1 and len(after):
            families = runs[0].table["family"].loc[after.index].to_list()
            change = paired_difference(after.to_numpy(), before.to_numpy(), families)
            found[-1] |= bounds(effect(change))
        rows += found
    return rows


def _counts(samples: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each field of each completion, the columns named by ``OUTCOMES``."""
    found = [
        (prompt, sample, field, *counts)
        for prompt, sample, text in zip(
            samples["prompt_id"], samples["sample"], samples["fields"], strict=True
        )
        for field, counts in json.loads(text).items()
    ]
    table = pd.DataFrame(found, columns=["prompt_id", "sample", "field", *OUTCOMES])
    return table.assign(expected=table[list(OUTCOMES[:3])].sum(axis=1))


def _by_prompt(counts: pd.DataFrame, kept: set[str]) -> pd.DataFrame:
    """Add up by field and prompt; ``extra`` counts completions."""
    counts = counts.assign(field=counts["field"].where(counts["field"].isin(kept), OTHERS))
    by_sample = counts.groupby(["field", "prompt_id", "sample"]).sum()
    by_sample["extra"] = by_sample["extra"] > 0
    return by_sample.groupby(["field", "prompt_id"]).sum()


def _shares(by_prompt: pd.DataFrame, field: str, run: Measured) -> pd.DataFrame:
    """Return the shares of each prompt of a run: NaN where the field is not expected."""
    known = field in by_prompt.index.get_level_values("field")
    part = (by_prompt.loc[field] if known else by_prompt.iloc[:0].droplevel("field")).reindex(
        run.table.index, fill_value=0
    )
    expected = part["expected"].where(part["expected"] > 0)
    shares = part[list(OUTCOMES[:3])].div(expected, axis=0)
    return shares.assign(
        extra=part["extra"] / run.table["num_samples"], num_values=part["expected"]
    )


def _rates(shares: pd.DataFrame, run: Measured) -> Row:
    is_expected = shares["right"].notna()
    row: dict[str, Any] = {
        "num_prompts": int(is_expected.sum()),
        "num_values": int(shares["num_values"].sum()),
    }
    for outcome in OUTCOMES:
        part = run.table if outcome == "extra" else run.table[is_expected]
        found = Interval(np.nan, np.nan, np.nan)
        if len(part):
            found = rate_interval(
                np.asarray(shares[outcome].loc[part.index], dtype=np.float64),
                part["family"].to_list(),
                num_completions=int(part["num_samples"].sum()),
            )
        row |= rate_cells(outcome, found)
    return row
