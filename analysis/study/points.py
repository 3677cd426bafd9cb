"""The points of a study: how they ended, which are best, what they differ in."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from analysis.measured import Interval, measure, rate_intervals
from analysis.records import read_run
from strictune.config import SweepSpec, TrialSpec, expand, resolve_point
from strictune.config.settings import setting_at
from strictune.errors import StorageError, StrictuneError
from strictune.records import TRIALS, Objective, Point, PointState, Study

__all__ = [
    "INFEASIBLE",
    "NOT_ASKED",
    "Dimension",
    "cell_of",
    "count_points",
    "dimensions_of",
    "pareto_front",
    "point_spec",
    "ranked_points",
    "rate_of",
    "undominated",
]

INFEASIBLE = "infeasible"
NOT_ASKED = "not asked for"


class Dimension(NamedTuple):
    """One thing that differs between points."""

    name: str
    """A reward component, with its stage where it has weights of its own, e.g. ``schema in
    progressive``, or the dotted key of a setting."""
    is_weight: bool
    is_log: bool
    """It was searched on a logarithmic scale."""
    values: Mapping[int, float | str]
    """By the points' numbers: a number, or the text of a choice. A point in which the setting
    had no part, because of others, is left out."""

    @property
    def is_number(self) -> bool:
        """Whether it has an order."""
        return not any(isinstance(value, str) for value in self.values.values())


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
    front = undominated({point.number: _gains(point, study) for point in ranked})
    return [point for point in ranked if point.number in front]


def undominated(values: Mapping[int, Sequence[float]]) -> list[int]:
    """Return the keys of the values on the Pareto front, where greater is better.

    Equal values are all on it.
    """

    def is_beaten(mine: Sequence[float]) -> bool:
        return any(
            theirs != mine and all(a >= b for a, b in zip(theirs, mine, strict=True))
            for theirs in values.values()
        )

    return [number for number, mine in values.items() if not is_beaten(mine)]


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
    if not runs or any(middle[0] not in run.criteria for run in runs):
        return None
    (found,) = rate_intervals(
        np.mean([run.criterion(middle[0]) for run in runs], axis=0)[np.newaxis],
        runs[0].families,
        num_completions=sum(run.num_completions for run in runs),
    )
    is_same = point.values is not None and math.isclose(found.estimate, point.value, abs_tol=1e-9)
    return found if is_same else None


def cell_of(sweep: SweepSpec, study: Study) -> TrialSpec:
    """Return the trial of the study's cell with the cell's own settings.

    Raises:
        StorageError: The sweep file has no such cell.
    """
    for trial in expand(sweep):
        if trial.cell == study.cell:
            return trial
    raise StorageError(f"{sweep.name}: sweep.yaml has no cell {study.cell}, studies.json has one.")


def point_spec(sweep: SweepSpec, cell: TrialSpec, point: Point) -> TrialSpec:
    """Return what a point is trained as."""
    return resolve_point(sweep, cell, point.settings, variant=point.name, seed=cell.seed)


def dimensions_of(sweep: SweepSpec, study: Study) -> tuple[Dimension, ...]:
    """Return what the points of a study differ in; what is the same everywhere is left out.

    Weights are those in effect, divided by their sum: their scale means nothing.
    """
    assert sweep.search is not None
    cell = cell_of(sweep, study)
    specs = {point.number: point_spec(sweep, cell, point) for point in study.points}
    weights = {number: _weights(spec, sweep, study) for number, spec in specs.items()}
    found = [
        Dimension(name, True, False, {number: shares[name] for number, shares in weights.items()})
        for name in next(iter(weights.values()), {})
    ]
    for key, searched in sweep.search.space.settings.items():
        acts = {
            number: spec
            for number, spec in specs.items()
            if all(
                setting_at(spec, other) in allowed
                for other, allowed in (searched.when or {}).items()
            )
        }
        values = {number: _readable(setting_at(spec, key)) for number, spec in acts.items()}
        if searched.choices is not None:
            values = {number: str(value) for number, value in values.items()}
        found.append(Dimension(key, False, searched.log, values))
    return tuple(one for one in found if len(set(one.values.values())) > 1)


def _gains(point: Point, study: Study) -> tuple[float, ...]:
    assert point.values is not None
    return tuple(
        objective.sign * value
        for objective, value in zip(study.objectives, point.values, strict=True)
    )


def _weights(spec: TrialSpec, sweep: SweepSpec, study: Study) -> dict[str, float]:
    """Return the shares of the components, and those in stages whose own weights are searched."""
    assert sweep.search is not None
    tables = {"": spec.weights}
    for stage in spec.stages:
        if stage.name in sweep.search.space.stage_rewards:
            tables[f" in {stage.name}"] = spec.stage_weights(stage)
    return {
        f"{component}{where}": weights[component] / (sum(weights.values()) or 1.0)
        for where, weights in tables.items()
        for component in study.components
    }


def _readable(value: JsonValue) -> float | str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return json.dumps(value)
