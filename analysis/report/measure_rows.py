"""What a task measured beside its rungs, before and after: means with intervals, in its own units.

Exploratory, whatever an interval says: verdicts are about the primary rung.
"""

import numpy as np

from analysis.differences import interval, paired_difference
from analysis.families import Floats
from analysis.measured import Measured
from analysis.report.trial_rows import Facts
from analysis.tables import Column, Row, Table

__all__ = ["MEASURES", "measure_rows"]


def _bounded(key: str, sign: str = "") -> Column:
    def text(row: Row) -> str:
        value, low, high = (float(row[name]) for name in (key, f"{key}_low", f"{key}_high"))
        bounds = "no interval" if np.isnan(low) else f"{low:{sign}.3g}, {high:{sign}.3g}"
        return f"{value:{sign}.3g} [{bounds}]"

    heading = "difference" if key == "delta" else key
    return Column(heading, lambda row: row if key in row else None, text)


MEASURES = Table(
    "measures",
    "Measures, with 95% intervals; exploratory",
    (
        Column("measure", "measure", lambda name: name.replace("_", " ")),
        Column("prompts", "num_prompts"),
        _bounded("baseline"),
        _bounded("trained"),
        _bounded("delta", "+"),
    ),
)


def measure_rows(facts: Facts, ours: Measured, theirs: Measured | None) -> list[Row]:
    """Return one row for each measure that is known of a prompt.

    Args:
        facts: Which trial it is.
        ours: The trial.
        theirs: Its baseline, on the same prompts in the same order.

    Returns:
        ``trained``, ``baseline`` and ``delta`` with ``_low`` and ``_high``, and ``num_prompts``.
        A side is the mean over the prompts where it is known, the difference over those where
        both sides are; bounds are NaN where a single family gives none.
    """
    rows = []
    for name in ours.measures:
        after = ours.measure(name)
        if np.isnan(after).all():
            continue
        row: Row = {**facts, "measure": name, **_mean("trained", after, None, ours)}
        if theirs is not None and name in theirs.measures:
            before = theirs.measure(name)
            row |= _mean("baseline", before, None, theirs) | _mean("delta", after, before, ours)
        rows.append({**row, "num_prompts": int((~np.isnan(after)).sum())})
    return rows


def _mean(key: str, ours: Floats, theirs: Floats | None, measured: Measured) -> Row:
    other = np.zeros_like(ours) if theirs is None else theirs
    known = ~np.isnan(ours - other)
    if not known.any():
        return {}
    families = np.asarray(measured.families)[known].tolist()
    found = paired_difference(ours[known], other[known], families)
    low, high = interval(found)
    return {key: float(found.estimate), f"{key}_low": float(low), f"{key}_high": float(high)}
