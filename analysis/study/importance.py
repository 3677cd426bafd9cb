"""The importance of each weight and setting for a point being among the best.

Optuna's PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255): how far the values of the best
quarter are spread otherwise than those of all points, one parameter at a time. It is computed on
a study in memory whose parameters are the weights themselves; the sticks that the sampler draws
have no meaning of their own. Optuna is imported when it is called.

Each share has an error, the standard deviation over bootstrap samples of the points, and is above
chance if shuffled values rarely give its divergence, at a level that all parameters share
(Bonferroni). Weights add up to 1, so a share may belong to another weight that had to make room.

Few points show little (``tests/bench/bench_importance.py``): below ``MIN_POINTS`` nothing is
estimated.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.families import Floats
from analysis.study.points import Dimension
from strictune.records import Study

__all__ = ["MIN_POINTS", "Importance", "ImportanceTable", "importance_of"]

MIN_BEST = 5
"""Points that the best quarter must hold; Optuna's own advice."""
BEST_FRAC = 0.25
MIN_POINTS = int(MIN_BEST / BEST_FRAC)
NUM_RESAMPLES = 150
"""Bootstrap samples, and at least as many shuffles."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """One weight or setting."""

    name: str
    is_weight: bool
    share: float
    """Of the divergences of all parameters."""
    share_se: float
    """Standard deviation over bootstrap samples of the points."""
    is_above_chance: bool
    """Shuffled values rarely give so large a divergence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceTable:
    """All of them, the largest share first, or why there are none."""

    metric: str
    num_points: int
    """Finished ones, feasible or not; those stopped early have no value at full budget."""
    rows: tuple[Importance, ...] = ()
    refusal: str | None = None


def importance_of(
    study: Study,
    dimensions: Sequence[Dimension],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> ImportanceTable:
    """Measure the importance of what the points differ in for the first objective."""
    metric = study.objectives[0].metric
    finished = [point for point in study.points if point.values is not None]
    gains = np.array([study.objectives[0].sign * point.value for point in finished])  # (P,)
    numbers = [point.number for point in finished]
    varied = [d for d in dimensions if len({d.values.get(number) for number in numbers}) > 1]
    refusal = _refusal(gains, varied)
    if refusal is not None:
        return ImportanceTable(metric=metric, num_points=len(finished), refusal=refusal)
    rng = np.random.default_rng(seed)
    with _quiet_optuna():
        points = _trials(varied, numbers)
        found = _divergences(points, varied, gains)  # (D,)
        drawn = [rng.integers(len(gains), size=len(gains)) for _ in range(num_resamples)]
        resampled = np.array(
            [_divergences([points[i] for i in d], varied, gains[d]) for d in drawn]
        )
        # So many that even the smallest possible chance can pass the shared level.
        num_shuffles = max(num_resamples, math.ceil(len(varied) / ALPHA))
        shuffled = np.array(
            [_divergences(points, varied, rng.permutation(gains)) for _ in range(num_shuffles)]
        )
    chances = (1 + (shuffled >= found).sum(axis=0)) / (1 + num_shuffles)
    shares, errors = _shares(found), _shares(resampled).std(axis=0, ddof=1)
    rows = [
        Importance(
            name=dimension.name,
            is_weight=dimension.is_weight,
            share=float(shares[index]),
            share_se=float(errors[index]),
            is_above_chance=bool(chances[index] <= ALPHA / len(varied)),
        )
        for index, dimension in enumerate(varied)
    ]
    rows.sort(key=lambda row: -row.share)
    return ImportanceTable(metric=metric, num_points=len(finished), rows=tuple(rows))


def _refusal(gains: Floats, varied: Sequence[Dimension]) -> str | None:
    if len(gains) < MIN_POINTS:
        return (
            f"too few points: n = {len(gains)} finished, {MIN_POINTS} are needed, so that the best "
            f"quarter holds {MIN_BEST}. Add some with `strictune run SWEEP.yaml --resume --trials "
            f"+{MIN_POINTS - len(gains)}` or more."
        )
    if not varied:
        return "the finished points do not differ in anything that was searched."
    if np.ptp(gains) == 0:
        return "all finished points have the same value."
    return None


def _shares(divergences: Floats) -> Floats:
    """Divide by the sum over the parameters: (..., D) -> (..., D)."""
    total = divergences.sum(axis=-1, keepdims=True)
    shares: Floats = np.divide(divergences, total, out=np.zeros_like(divergences), where=total > 0)
    return shares


def _divergences(
    points: Sequence[Mapping[str, Any]], varied: Sequence[Dimension], gains: Floats
) -> Floats:
    """Return PED-ANOVA's divergence of each parameter, before it is made a share: (D,)."""
    import optuna

    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(value=float(gain), **point)
            for point, gain in zip(points, gains, strict=True)
        ]
    )
    quantile = math.ceil(BEST_FRAC * len(gains)) / len(gains)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    found = evaluator.evaluate(study)
    return np.array([found.get(dimension.name, 0.0) for dimension in varied])


def _trials(varied: Sequence[Dimension], numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return parameters and distributions of each point, with the range that was tried."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    distributions: dict[str, Any] = {}
    for dimension in varied:
        tried = [dimension.values[number] for number in numbers if number in dimension.values]
        if dimension.is_number:
            low, high = min(map(float, tried)), max(map(float, tried))
            is_log = dimension.is_log and low > 0
            distributions[dimension.name] = FloatDistribution(low, high, log=is_log)
        else:
            distributions[dimension.name] = CategoricalDistribution(sorted(set(tried), key=str))
    return [
        {
            "params": {d.name: d.values[number] for d in varied if number in d.values},
            "distributions": {d.name: distributions[d.name] for d in varied if number in d.values},
        }
        for number in numbers
    ]


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Silence a line for each study, and warnings about few points: the errors say it better."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
