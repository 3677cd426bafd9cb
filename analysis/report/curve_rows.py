"""Training metrics over steps, averaged within spans of steps so that they have an error.

The unit is the step: its completions come from one policy and share their prompts. Within a
span the mean over steps has a t interval, in which drift counts as noise. Seeds of a cell
are put together.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from analysis.report.run_rows import RunRows
from analysis.tables import Row
from strictune.logged_metrics import read_metrics

__all__ = ["curve_tables", "flat_groups_at_end"]

MIN_STEPS = 5
"""Fewest steps of a span, where there are as many."""
MAX_SPANS = 24

_REWARD, _MEAN = "reward/", "/mean"
_THINK = "train/think_rate"
_ZERO_STD = "reward/zero_std_groups_frac"
_SHARES = (_THINK, _ZERO_STD)


def curve_tables(cells: Mapping[str, Sequence[Path]]) -> RunRows:
    """Return the tables ``rewards``, ``think_rates`` and ``zero_std_groups`` of cells.

    Args:
        cells: The folders of each cell's trials; one without metrics adds nothing.
    """
    tables: RunRows = {"rewards": [], "think_rates": [], "zero_std_groups": []}
    for cell, folders in cells.items():
        for key, points in _points(folders).items():
            for row in _spans(points, is_share=key in _SHARES):
                if key == _THINK:
                    tables["think_rates"].append({"cell": cell, **row})
                elif key == _ZERO_STD:
                    tables["zero_std_groups"].append({"cell": cell, **row})
                else:
                    component = key.removeprefix(_REWARD).removesuffix(_MEAN)
                    tables["rewards"].append({"cell": cell, "component": component, **row})
    return tables


def flat_groups_at_end(cells: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """Return each cell's share of groups without any spread, over its last span of steps.

    Args:
        cells: The folders of each cell's trials that have ended; one that recorded no such share
            adds nothing.
    """
    found = {}
    for cell, folders in cells.items():
        if points := _points(folders).get(_ZERO_STD):
            *_, last = _spans(points, is_share=True)
            found[cell] = float(last["mean"])
    return found


def _points(folders: Sequence[Path]) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every metric that is drawn, over all trials of a cell."""
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for folder in folders:
        for step, metrics in read_metrics(folder):
            for key, value in metrics.items():
                is_component = key.startswith(_REWARD) and key.endswith(_MEAN)
                if is_component or key in _SHARES:
                    points[key].append((step, value))
    return points


def _spans(points: Sequence[tuple[int, float]], *, is_share: bool) -> Iterator[Row]:
    steps = np.array([step for step, _ in points])
    values = np.array([value for _, value in points], dtype=np.float64)
    present = np.unique(steps)
    count = max(1, min(MAX_SPANS, len(present) // MIN_STEPS))
    for span in np.array_split(present, count):
        part = values[(steps >= span[0]) & (steps <= span[-1])]
        half = np.nan
        if len(part) > 1:
            half = float(stats.t.ppf(0.975, len(part) - 1) * part.std(ddof=1) / np.sqrt(len(part)))
        mean = float(part.mean())
        low, high = mean - half, mean + half
        yield {
            "step": float((span[0] + span[-1]) / 2),
            "num_steps": len(part),
            "mean": mean,
            "low": max(low, 0.0) if is_share else low,
            "high": min(high, 1.0) if is_share else high,
        }
