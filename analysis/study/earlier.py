"""Earlier sweeps that a study begins with, and how far the study of another model agrees with it.

Points of the same cell are known values. Those of a cell in which only the model differs are
settings to begin with: what they were worth there is a rank, and no value of this study. How far
ranks agree is Spearman's correlation over the points that both studies have finished.
"""

import json
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from strictune.config import SweepSpec, TrialSpec
from strictune.config.naming import SEPARATOR
from strictune.errors import SpecError, StorageError
from strictune.records import PointState, Study, read_studies

__all__ = [
    "MIN_SHARED",
    "RankAgreement",
    "agreement_sentence",
    "earlier_sentences",
    "earlier_study",
    "rank_agreements",
]

logger = logging.getLogger(__name__)

MIN_SHARED = 8
"""Shared points below which nothing is said: their interval would be wide and not to be trusted."""
NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAgreement:
    """Spearman's correlation of two studies' first objective, with a 95% interval."""

    sweep: str
    """The earlier sweep."""
    model: str
    """Its study's."""
    num_points: int
    """Points of equal settings that finished in both."""
    rho: float
    """NaN below ``MIN_SHARED`` points, and where a side has one value alone."""
    low: float
    """Percentiles of a bootstrap over points."""
    high: float


def earlier_study(sweep: str, cell: str) -> Study:
    """Return the study of a cell in an earlier sweep, else that of the same cell of another model.

    Raises:
        SpecError: There is none, or several other models have one.
    """
    try:
        studies = read_studies(Path(sweep))
    except StorageError as error:
        raise SpecError(f"search.warm_start: {error}") from error
    same = [study for study in studies if study.cell == cell]
    others = [study for study in studies if _without_model(study.cell) == _without_model(cell)]
    found = same or others
    if len(found) == 1:
        return found[0]
    cells = ", ".join(study.cell for study in found or studies)
    if found:
        raise SpecError(
            f"search.warm_start: {sweep} has studies of several other models for {cell}: {cells}. "
            "Give a sweep with one of them."
        )
    raise SpecError(f"search.warm_start: {sweep} has no study of {cell}, only of {cells}.")


def rank_agreements(sweep: SweepSpec, study: Study, *, seed: int = 0) -> tuple[RankAgreement, ...]:
    """Hold a study against those of other models that it began with, where they can be read."""
    found = []
    for name in sweep.search.warm_start if sweep.search is not None else ():
        try:
            earlier = earlier_study(name, study.cell)
        except SpecError as error:
            logger.warning("ranks of %s are not compared: %s", name, error)
            continue
        if earlier.model != study.model:
            found.append(_agreement(name, earlier, study, seed=seed))
    return tuple(found)


def agreement_sentence(found: RankAgreement) -> str:
    """Return the sentences on whether good points of another model were good for this one."""
    over = f"the study of {found.model} in {found.sweep} over {found.num_points} shared points"
    if math.isnan(found.rho):
        why = f"expected {MIN_SHARED} or more, with different values"
        return f"Rank correlation with {over}: cannot be told; {why}."
    number = f"{found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if found.low <= 0 <= found.high:
        meaning = "whether its ranks say anything about this model cannot be told"
    elif found.rho > 0:
        meaning = "what was better there tended to be better here"
    else:
        meaning = "what was better there tended to be worse here"
    return f"Rank correlation with {over}: {number}; {meaning}."


def earlier_sentences(sweep: SweepSpec, trials: Sequence[TrialSpec]) -> list[str]:
    """Return the points that each study will begin with; empty without ``search.warm_start``."""
    if sweep.search is None:
        return []
    lines = []
    for name in sweep.search.warm_start:
        for cell, model in {trial.cell: trial.model for trial in trials}.items():
            try:
                study = earlier_study(name, cell)
            except SpecError as error:
                lines.append(str(error))
                continue
            count = sum(point.state is PointState.FINISHED for point in study.points)
            if study.model == model:
                lines.append(f"{cell} begins with {count} finished points of {name}.")
            else:
                num_again = min(count, sweep.search.num_startup_trials)
                lines.append(
                    f"{cell}: {name} is of another model, {study.model}. {num_again} of its "
                    f"{count} finished points, from the best to the worst, are measured again; "
                    "none of its values counts."
                )
    return lines


def _agreement(name: str, earlier: Study, study: Study, *, seed: int) -> RankAgreement:
    theirs, ours = _values(earlier), _values(study)
    shared = [key for key in ours if key in theirs]
    pairs = np.array([(theirs[key], ours[key]) for key in shared]).reshape(-1, 2)  # (n, 2)
    rho = low = high = float("nan")
    if len(pairs) >= MIN_SHARED:
        rho = _spearman(pairs)
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(pairs), size=(NUM_RESAMPLES, len(pairs)))
        resampled = np.array([_spearman(pairs[rows]) for rows in drawn])
        if np.isfinite(resampled).any():
            low, high = np.nanpercentile(resampled, (2.5, 97.5)).tolist()
    return RankAgreement(
        sweep=name, model=earlier.model, num_points=len(pairs), rho=rho, low=low, high=high
    )


def _values(study: Study) -> dict[str, float]:
    """Return the first objective of the points that the study measured, by their settings."""
    return {
        json.dumps(point.settings, sort_keys=True): point.value
        for point in study.points
        if point.values is not None and not point.is_from_before
    }


def _spearman(pairs: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """Return the rank correlation, ties shared: (n, 2); NaN for a constant side."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float(stats.spearmanr(pairs).statistic)


def _without_model(cell: str) -> str:
    return cell.partition(SEPARATOR)[2]
