"""How the judge of a trial did while it trained: from the metrics that scoring itself reports."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from analysis.report.trial_rows import Facts
from analysis.tables import Row
from strictune.logged_metrics import read_metrics

__all__ = ["judge_rows"]

JUDGE = "train/judge/"
COUNTED = ("calls", "retries", "prompt_tokens", "completion_tokens", "cost_usd")
"""What adds up over steps; the rest are shares and times."""


def judge_rows(facts: Facts, folder: Path) -> list[Row]:
    """Return one row for each metric of a trial's judge; empty for a task that asks none.

    Returns:
        ``mean`` and ``largest`` of a step's batch, and ``total`` over all steps, None where a
        sum says nothing.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for _, metrics in read_metrics(folder):
        for key, value in metrics.items():
            if key.startswith(JUDGE):
                values[key.removeprefix(JUDGE)].append(float(value))
    return [
        {
            **facts,
            "fact": name,
            "mean": float(np.mean(found)),
            "largest": max(found),
            "total": sum(found) if name in COUNTED else None,
        }
        for name, found in sorted(values.items())
    ]
