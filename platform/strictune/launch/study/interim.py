"""Early stopping with several objectives: a point that another one beats in all of them.

At each interim evaluation the point is held against those on the Pareto front at the same step,
prompt by prompt. It stops where one of them is better in every objective by a one-sided,
family-clustered t test; interim evaluations and opponents share ``alpha`` (Bonferroni), so that a
point which is not dominated is stopped with a chance of at most ``alpha``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.differences import paired_difference
from analysis.families import Floats
from analysis.records import prompt_table, read_samples
from strictune.config import ObjectiveSpec
from strictune.errors import SpecError

__all__ = ["dominating_point", "interim_folder", "objective_column"]


def interim_folder(trial: Path, step: int) -> Path:
    """Return where a trial keeps what it answered at an interim evaluation."""
    return trial / "eval" / "interim" / str(step)


def dominating_point(
    ours: Path,
    others: Mapping[int, Path],
    objectives: Sequence[ObjectiveSpec],
    *,
    step: int,
    alpha: float,
) -> int | None:
    """Return the number of a point that dominates the trial ``ours``, or None.

    Args:
        ours: The trial's folder.
        others: Folders of points that have been looked at, at this step, by number.
        objectives: Two or more.
        step: Of the interim evaluation.
        alpha: This evaluation's share.
    """
    tables = {number: _table(folder, step) for number, folder in others.items()}
    front = _front(tables, objectives)
    mine = _table(ours, step)
    families = [str(family) for family in mine["family"]]
    for number in front:
        worst_p = 0.0
        for objective in objectives:
            sign = 1.0 if objective.mode == "max" else -1.0
            theirs = sign * objective_column(tables[number], objective.metric)
            found = paired_difference(
                theirs, sign * objective_column(mine, objective.metric), families
            )
            t = float(found.estimate / found.standard_error)
            p = float(stats.t.sf(t, float(found.df)))
            worst_p = max(worst_p, 1.0 if np.isnan(p) else p)
        if worst_p < alpha / len(front):
            return number
    return None


def objective_column(table: pd.DataFrame, metric: str) -> Floats:
    """Return a metric prompt by prompt: (P,), NaN where a prompt is of another difficulty.

    Raises:
        SpecError: The metric is no mean over prompts.
    """
    parts = metric.split("/")
    if parts[0] == "eval" and parts[-1] == "pass_at_1" and f"criterion/{parts[-2]}" in table:
        return np.asarray(table[f"criterion/{parts[-2]}"], dtype=np.float64)
    known = {
        "eval/completion_tokens/mean": "num_tokens",
        "eval/think_rate": "is_thinking",
        "eval/truncated_frac": "is_truncated",
    }
    if metric not in known:
        raise SpecError(
            f"search.objectives: {metric} is no mean over prompts, which dominated needs. Use "
            f"eval/<criterion>/pass_at_1 or one of {', '.join(known)}."
        )
    return np.asarray(table[known[metric]], dtype=np.float64)


def _table(trial: Path, step: int) -> pd.DataFrame:
    return prompt_table(read_samples(interim_folder(trial, step) / "samples.parquet"))


def _front(tables: Mapping[int, pd.DataFrame], objectives: Sequence[ObjectiveSpec]) -> list[int]:
    values = {
        number: [
            float(objective_column(table, objective.metric).mean())
            * (1 if objective.mode == "max" else -1)
            for objective in objectives
        ]
        for number, table in tables.items()
    }

    def is_beaten(number: int) -> bool:
        mine = values[number]
        return any(
            all(a >= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine
            for other, theirs in values.items()
            if other != number
        )

    return [number for number in values if not is_beaten(number)]
