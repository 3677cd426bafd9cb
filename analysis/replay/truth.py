"""Replay held against training: does what it says of a point agree with what the point became?

For each finished point of a search, a measure is replayed under the point's own weights on the
completions of the *other* points, so that no point is judged by what its own training wrote. Its
rank correlation with the points' values on the validation split says whether replay predicts.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from analysis.families import Floats
from analysis.replay.advantages import Scheme
from analysis.replay.matrices import Cell, RewardMatrix, read_matrices
from analysis.replay.measures import Reference, average_groups, replay_matrix
from analysis.replay.steps import Estimate
from strictune.errors import StorageError

__all__ = ["PREDICTORS", "Agreement", "replay_agreement", "spearman_interval", "truth_sentences"]

PREDICTORS = ("rung_correlation", "wrong_best_frac", "zero_spread_frac", "group_rank_correlation")
"""Measures that might predict a point's value."""

MIN_POINTS = 5
"""Fewer points have no interval worth printing."""


class Interval(NamedTuple):
    """A rank correlation and its 95% interval."""

    rho: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One measure of replay against the values of a study's points."""

    cell: str
    measure: str
    num_points: int
    correlation: Interval
    """NaN where the measure or the values do not vary."""


def replay_agreement(sweep_dir: Path) -> list[Agreement]:
    """Correlate each measure with the values of the finished points, study by study.

    Values of an objective that is minimized are negated, so that more is better everywhere.

    Raises:
        StorageError: The folder holds no search, or no reward matrix.
    """
    path = sweep_dir / "studies.json"
    if not path.exists():
        raise StorageError(f"{sweep_dir} holds no search; give the folder of a sweep with one.")
    studies = json.loads(path.read_text(encoding="utf-8"))["studies"]
    cells = {cell.name: cell for cell in read_matrices(sweep_dir).cells}
    return [
        found
        for study in studies
        if study["cell"] in cells
        for found in _study_agreement(study, cells[study["cell"]])
    ]


def spearman_interval(first: Floats, second: Floats) -> Interval:
    """Return Spearman's rho with the interval of Bonett and Wright (2000): (n,), (n,).

    Fisher's z with standard error sqrt((1 + rho^2 / 2) / (n - 3)).
    """
    if len(first) < MIN_POINTS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Interval(math.nan, math.nan, math.nan)
    rho = float(stats.spearmanr(first, second).statistic)
    centre = math.atanh(min(max(rho, -0.999999), 0.999999))
    half = stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (len(first) - 3))
    return Interval(rho, math.tanh(centre - half), math.tanh(centre + half))


def truth_sentences(found: Sequence[Agreement]) -> list[str]:
    """Say in words what was found; each of several measures is judged by its own interval."""
    lines = []
    for agreement in found:
        where = f"{agreement.cell}: {agreement.measure} against the points' values"
        rho, low, high = agreement.correlation
        if math.isnan(rho):
            why = (
                f"{MIN_POINTS} or more points that differ are needed, found {agreement.num_points}"
            )
            lines.append(f"{where}: no rank correlation ({why}).")
            continue
        lines.append(
            f"{where}: rank correlation {rho:+.2f} [{low:+.2f}, {high:+.2f}] over "
            f"{agreement.num_points} points; {_meaning(low, high)}."
        )
    return lines


def _meaning(low: float, high: float) -> str:
    if low <= 0 <= high:
        return "not shown to predict"
    kind = "better" if low > 0 else "worse"
    return (
        f"in this study more of it went with {kind} points, by an interval that is not adjusted "
        f"for {len(PREDICTORS)} measures"
    )


def _study_agreement(study: Mapping[str, Any], cell: Cell) -> list[Agreement]:
    matrices = {matrix.trial_id: matrix for matrix in cell.matrices}
    points = [
        point
        for point in study["points"]
        if point["state"] == "finished" and any(name in matrices for name in point["trials"])
    ]
    sign = 1.0 if study["objectives"][0]["mode"] == "max" else -1.0
    values = np.array([sign * point["values"][0] for point in points])
    # A lone point leaves no others to replay, and few have no correlation worth the time.
    is_enough = len(points) >= MIN_POINTS
    replayed = [_replay_point(point, cell, matrices) for point in points] if is_enough else []
    return [
        Agreement(
            cell=cell.name,
            measure=measure,
            num_points=len(points),
            correlation=spearman_interval(
                np.array([float(found[measure].value[0]) for found in replayed]), values
            ),
        )
        for measure in PREDICTORS
    ]


def _replay_point(
    point: Mapping[str, Any], cell: Cell, matrices: Mapping[str, RewardMatrix]
) -> dict[str, Estimate]:
    """Replay a point's weights on the matrices of all other points."""
    weights = np.array([float(point["weights"].get(name, 0.0)) for name in cell.components])
    settings = point["settings"]
    scheme = Scheme(
        settings.get("grpo.multi_objective_aggregation", cell.scheme.aggregation),
        settings.get("grpo.scale_rewards", cell.scheme.scale_rewards),
    )
    others = [matrix for name, matrix in matrices.items() if name not in point["trials"]]
    return average_groups(
        [
            replay_matrix(
                Reference.of(matrix, cell.weights, cell.scheme),
                weights[np.newaxis],
                scheme.aggregation,
            )
            for matrix in others
        ]
    )
