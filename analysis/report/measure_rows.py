"""What a task measured beside its rungs, before and after: means with intervals, in its own units.

Exploratory, whatever an interval says: verdicts are about the primary rung.
"""

import numpy as np

from analysis.differences import interval, paired_difference
from analysis.families import Floats
from analysis.measured import Measured
from analysis.report.run_rows import Row
from analysis.report.trial_rows import Facts
from analysis.wording import NOT_MEASURED

__all__ = ["measure_rows", "measure_texts"]


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


def measure_texts(row: Row) -> dict[str, str]:
    """Return a row as display strings, heading -> text."""
    return {
        "measure": str(row["measure"]),
        "prompts": str(row["num_prompts"]),
        "baseline": _text(row, "baseline", sign=""),
        "trained": _text(row, "trained", sign=""),
        "difference": _text(row, "delta", sign="+"),
    }


def _mean(key: str, ours: Floats, theirs: Floats | None, measured: Measured) -> Row:
    other = np.zeros_like(ours) if theirs is None else theirs
    known = ~np.isnan(ours - other)
    if not known.any():
        return {}
    families = np.asarray(measured.families)[known].tolist()
    found = paired_difference(ours[known], other[known], families)
    low, high = interval(found)
    return {key: float(found.estimate), f"{key}_low": float(low), f"{key}_high": float(high)}


def _text(row: Row, key: str, *, sign: str) -> str:
    if key not in row:
        return NOT_MEASURED
    value, low, high = (float(row[name]) for name in (key, f"{key}_low", f"{key}_high"))
    bounds = "no interval" if np.isnan(low) else f"{low:{sign}.3g}, {high:{sign}.3g}"
    return f"{value:{sign}.3g} [{bounds}]"
