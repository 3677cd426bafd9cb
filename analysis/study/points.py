"""The points of a study: how they ended, which are best, which lie on the Pareto front."""

import math
from pathlib import Path

import numpy as np

from analysis.measured import Interval, measure
from analysis.rates import wilson_rate
from analysis.records import TRIALS, read_run
from analysis.study.records import Objective, Point, PointState, Study
from strictune.errors import StrictuneError

__all__ = ["NOT_ASKED", "count_points", "pareto_front", "ranked_points", "rate_of"]

INFEASIBLE = "infeasible"
NOT_ASKED = "not asked for"


def count_points(study: Study) -> dict[str, int]:
    """Count the study's own points by how they stand; every state, so that a 0 is said too.

    ``infeasible`` counts finished points once more; ``not asked for`` is what is left of the
    study's number.
    """
    own = [point for point in study.points if not point.is_from_before]
    counts = {state.value: sum(p.state is state for p in own) for state in PointState}
    counts[INFEASIBLE] = sum(p.values is not None and not p.is_feasible for p in own)
    counts[NOT_ASKED] = max(study.num_trials - len(own), 0)
    return counts


def ranked_points(study: Study) -> list[Point]:
    """Return the points that may win, best first; later objectives break the first one's ties."""
    candidates = [point for point in study.points if point.is_candidate]
    return sorted(candidates, key=lambda point: _gains(point, study), reverse=True)


def pareto_front(study: Study) -> list[Point]:
    """Return the points that no other one beats in one objective and equals in the rest.

    In the order of ``ranked_points``. Points of equal values are all on the front.
    """
    ranked = ranked_points(study)
    gains = {point.number: _gains(point, study) for point in ranked}

    def is_beaten(point: Point) -> bool:
        mine = gains[point.number]
        return any(
            theirs != mine and all(a >= b for a, b in zip(theirs, mine, strict=True))
            for theirs in gains.values()
        )

    return [point for point in ranked if not is_beaten(point)]


def rate_of(sweep_dir: Path, point: Point, objective: Objective) -> Interval | None:
    """Return a point's value with its interval over prompts, where it is a rate of all prompts.

    The interval says what other prompts of the kind would have given with these adapters. What
    training again would give is not in it.
    """
    first, *middle, last = objective.metric.split("/")
    if first != "eval" or last != "pass_at_1" or len(middle) != 1:
        return None
    try:
        runs = [measure(read_run(sweep_dir / TRIALS / trial_id)) for trial_id in point.trials]
    except StrictuneError:
        return None
    if not runs or any(middle[0] not in run.rungs for run in runs):
        return None
    found = wilson_rate(
        np.mean([run.rung(middle[0]) for run in runs], axis=0),
        runs[0].families,
        num_completions=sum(run.num_completions for run in runs),
    )
    is_same = point.values is not None and math.isclose(found.estimate, point.value, abs_tol=1e-9)
    return Interval(float(found.estimate), float(found.low), float(found.high)) if is_same else None


def _gains(point: Point, study: Study) -> tuple[float, ...]:
    assert point.values is not None
    return tuple(
        objective.sign * value
        for objective, value in zip(study.objectives, point.values, strict=True)
    )
