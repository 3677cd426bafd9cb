"""What a trial's rewards were put together from, part by part, while it trained.

Parts are scores whose names the data choose, such as rubrics. One that does not vary within a
group teaches nothing there, however much it weighs.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from analysis.report.trial_rows import Facts
from analysis.tables import Row

__all__ = ["part_rows"]

SAME = 1e-9
MAX_PARTS = 40
"""Those of most groups; names may be as many as prompts."""


def part_rows(facts: Facts, folder: Path) -> list[Row]:
    """Return one row for each part of a trial's rewards, those of most groups first.

    Returns:
        ``num_groups`` of two completions or more that have it, ``first`` and ``last``, the means
        over the first and the last third of these groups in the order of training, and
        ``flat_frac``, the share of them in which all completions have the same.
    """
    groups: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for table in _tables(folder):
        for _, group in table.groupby(["step", "prompt_id", "group"], sort=True):
            for name, values in _parts(group["parts"]).items():
                if len(values) > 1:
                    is_flat = max(values) - min(values) <= SAME
                    groups[name].append((float(np.mean(values)), is_flat))
    most = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_PARTS]
    return [{**facts, "part": name, **_row(found)} for name, found in most]


def _tables(folder: Path) -> Iterator[pd.DataFrame]:
    for path in sorted((folder / "rewards").glob("part-*.parquet")):
        if "parts" in pq.read_schema(path).names:
            yield pd.read_parquet(path, columns=["step", "prompt_id", "group", "parts"])


def _parts(texts: "pd.Series[str]") -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for text in texts.dropna():
        for name, value in json.loads(text).items():
            found[name].append(float(value))
    return found


def _row(found: list[tuple[float, bool]]) -> Row:
    means = [mean for mean, _ in found]
    third = max(1, len(means) // 3)
    return {
        "num_groups": len(found),
        "first": float(np.mean(means[:third])),
        "last": float(np.mean(means[-third:])),
        "flat_frac": sum(is_flat for _, is_flat in found) / len(found),
    }
