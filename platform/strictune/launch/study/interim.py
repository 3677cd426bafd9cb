"""Early stopping by paired tests: a point stops where others beat it with confidence.

At each interim evaluation the point is held against others at the same step, prompt by prompt, by
one-sided, family-clustered t tests:

- With one objective against the median point. To be behind the best one says little: learning
  curves cross, and the best of many is biased upward.
- With several objectives against the points on the Pareto front, one of which must be better in
  every objective.

Interim evaluations and opponents share ``alpha`` (Bonferroni), so that a point which is no worse
than its opponents at these steps is stopped with a chance of at most ``alpha``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.differences import paired_difference
from analysis.families import Floats
from analysis.records import prompt_table
from analysis.study.points import undominated
from strictune.config import ObjectiveSpec
from strictune.config.search import PROMPT_MEANS
from strictune.records import read_samples

__all__ = ["dominating_point", "interim_folder", "interim_table", "median_point", "p_beaten"]

MIN_OPPONENTS = 3
"""Points that a median is taken of."""


def interim_folder(trial: Path, step: int) -> Path:
    """Return where a trial keeps what it answered at an interim evaluation."""
    return trial / "eval" / "interim" / str(step)


def interim_table(trials: Sequence[Path], step: int) -> pd.DataFrame:
    """Read an interim evaluation of a point, prompt by prompt, over the samples of its trials."""
    files = [interim_folder(trial, step) / "samples.parquet" for trial in trials]
    return prompt_table(pd.concat([read_samples(file) for file in files], ignore_index=True))


def dominating_point(
    mine: pd.DataFrame,
    others: Mapping[int, pd.DataFrame],
    objectives: Sequence[ObjectiveSpec],
    *,
    alpha: float,
) -> int | None:
    """Return the number of a point that dominates another one at an interim evaluation, or None.

    Args:
        mine: Its table, see ``interim_table``.
        others: Those of the points that were evaluated at the same step, by number.
        objectives: The study's.
        alpha: This evaluation's share.
    """
    values = {number: _values(table, objectives) for number, table in others.items()}
    if len(objectives) == 1:
        opponents = median_point({number: value for number, (value,) in values.items()})
    else:
        opponents = undominated(values)
    for number in opponents:
        if p_beaten(mine, others[number], objectives) < alpha / len(opponents):
            return number
    return None


def median_point(values: Mapping[int, float]) -> list[int]:
    """Return the point in the middle, the lower of two; none of fewer than three.

    Args:
        values: By number; the greater the better.
    """
    ranked = sorted(values, key=values.__getitem__)
    return ranked[(len(ranked) - 1) // 2 :][:1] if len(ranked) >= MIN_OPPONENTS else []


def p_beaten(
    mine: pd.DataFrame, theirs: pd.DataFrame, objectives: Sequence[ObjectiveSpec]
) -> float:
    """Return the one-sided p of being beaten: in every objective, so the largest counts."""
    families = [str(family) for family in mine["family"]]
    worst = 0.0
    for objective in objectives:
        sign = _sign(objective)
        found = paired_difference(
            sign * _column(theirs, objective.metric),
            sign * _column(mine, objective.metric),
            families,
        )
        p = float(stats.t.sf(float(found.estimate / found.standard_error), float(found.df)))
        worst = max(worst, 1.0 if np.isnan(p) else p)
    return worst


def _sign(objective: ObjectiveSpec) -> int:
    return 1 if objective.mode == "max" else -1


def _column(table: pd.DataFrame, metric: str) -> Floats:
    """Return a metric prompt by prompt: (P,)."""
    column = PROMPT_MEANS.get(metric, f"criterion/{metric.split('/')[-2]}")
    return np.asarray(table[column], dtype=np.float64)


def _values(table: pd.DataFrame, objectives: Sequence[ObjectiveSpec]) -> list[float]:
    """Return the objectives, the greater the better."""
    return [
        _sign(objective) * float(_column(table, objective.metric).mean())
        for objective in objectives
    ]
