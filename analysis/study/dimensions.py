"""What a study has varied, point by point: each weight, and each other setting, as it acted."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue

from analysis.study.records import Point, Study
from strictune.config import SweepSpec, TrialSpec, expand, resolve_point
from strictune.config.settings import setting_at
from strictune.errors import StorageError

__all__ = ["Dimension", "cell_of", "dimensions_of", "point_spec"]


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
