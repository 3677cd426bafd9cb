"""The search space of one cell: Optuna's parameters to settings of a trial, and back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import JsonValue

from strictune.config import DimensionSpec, Settings, SimplexSpec, SpaceSpec, SweepSpec, TrialSpec
from strictune.config.expansion import start_of
from strictune.config.settings import setting_at
from strictune.errors import SpecError

__all__ = ["CellSpace", "cell_space", "sticks_of", "weights_of"]

STICK = "stick/"
USED = "used/"
DECIMALS = 4
"""Of the weights that a sweep file or a table shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpace:
    """What the study of one cell chooses.

    Parameters are ``stick/<component>`` (see ``weights_of``), ``used/<component>`` for one that may
    be left out, both with ``<stage>/`` before the component where a stage's weights are meant, and
    the dotted keys of other settings.
    """

    spec: SpaceSpec
    table: str
    """Key of the weights in this cell: ``rewards``, or ``rewards_no_think``."""
    components: Sequence[str]
    """What can share the weight: those that can be earned in this cell."""
    cell: Mapping[str, JsonValue]
    """The cell's own values of the searched settings, of ``table`` and of its curriculum."""
    curriculum: str
    """Key of the curriculum's stages, e.g. ``curricula.three_stage``."""

    def suggest(self, trial: optuna.Trial) -> Settings:
        """Draw the settings of one point."""
        drawn: Settings = {}
        if self.spec.rewards is not None:
            drawn[self.table] = dict(self._suggest_weights(trial, self.spec.rewards, prefix=""))
        if self.spec.stage_rewards:
            drawn[self.curriculum] = [
                self._suggest_stage(trial, stage) for stage in self._stages(self.cell)
            ]
        for key, dimension in self.spec.settings.items():
            if self._is_active(dimension, drawn):
                drawn[key] = _suggest(trial, key, dimension)
        return drawn

    def params(self, settings: Mapping[str, JsonValue]) -> dict[str, Any]:
        """Return the parameters that stand for ``settings`` on top of the cell's own.

        Raises:
            SpecError: The settings lie outside the space.
        """
        params: dict[str, Any] = {}
        weights: Any = settings.get(self.table, self.cell[self.table])
        if self.spec.rewards is not None:
            params |= self._weight_params(weights, self.spec.rewards, prefix="")
        for stage in self._stages({**self.cell, **settings}) if self.spec.stage_rewards else ():
            name = str(stage["name"])
            if name in self.spec.stage_rewards:
                given: Any = stage.get("rewards") or weights
                simplex = self.spec.stage_rewards[name]
                params |= self._weight_params(given, simplex, prefix=f"{name}/")
        values = {**self.cell, **settings}
        for key, dimension in self.spec.settings.items():
            if self._is_active(dimension, values):
                params[key] = _param(key, dimension, values[key])
        return params

    def distributions(self, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """Return the distribution of each of ``params``."""
        return {
            name: CategoricalDistribution((True, False))
            if name.startswith(USED)
            else FloatDistribution(0.0, 1.0)
            if name.startswith(STICK)
            else _distribution(self.spec.settings[name])
            for name in params
        }

    def _stages(self, values: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        stages: Any = values[self.curriculum]
        return [dict(stage) for stage in stages]

    def _suggest_stage(self, trial: optuna.Trial, stage: dict[str, JsonValue]) -> JsonValue:
        name = str(stage["name"])
        if name not in self.spec.stage_rewards:
            return stage
        simplex = self.spec.stage_rewards[name]
        weights = self._suggest_weights(trial, simplex, prefix=f"{name}/")
        return {**stage, "rewards": dict(weights)}

    def _sharing(self, simplex: SimplexSpec) -> list[str]:
        wanted = simplex.components or self.components
        return [name for name in self.components if name in wanted]

    def _suggest_weights(
        self, trial: optuna.Trial, simplex: SimplexSpec, *, prefix: str
    ) -> dict[str, float]:
        sharing = self._sharing(simplex)
        kept = [
            name
            for name in sharing
            if name not in simplex.may_be_zero
            or trial.suggest_categorical(f"{USED}{prefix}{name}", [True, False])
        ]
        # With everything left out nothing is learned; the first component then has it all.
        kept = kept or sharing[:1]
        sticks = [trial.suggest_float(f"{STICK}{prefix}{name}", 0.0, 1.0) for name in kept[:-1]]
        weights = weights_of(kept, sticks, min_weight=simplex.min_weight)
        return {name: weights.get(name, 0.0) for name in sharing}

    def _weight_params(
        self, given: Mapping[str, Any], simplex: SimplexSpec, *, prefix: str
    ) -> dict[str, Any]:
        weights = {name: float(given.get(name, 0.0)) for name in self._sharing(simplex)}
        used = {name: weights[name] > 0 for name in weights if name in simplex.may_be_zero}
        kept = {name: value for name, value in weights.items() if used.get(name, True)}
        try:
            sticks = sticks_of(kept, min_weight=simplex.min_weight)
        except ValueError as error:
            raise SpecError(
                f"weight {error}, the least of the searched weights. Lower min_weight, or name the "
                "component in may_be_zero."
            ) from error
        names = list(kept)[:-1]
        params: dict[str, Any] = {f"{USED}{prefix}{name}": value for name, value in used.items()}
        params |= {f"{STICK}{prefix}{name}": x for name, x in zip(names, sticks, strict=True)}
        return params

    def _is_active(self, dimension: DimensionSpec, values: Mapping[str, JsonValue]) -> bool:
        known = {**self.cell, **values}
        return all(known[key] in allowed for key, allowed in (dimension.when or {}).items())


def cell_space(sweep: SweepSpec, cell: TrialSpec) -> CellSpace:
    """Return the space of one cell of ``sweep``."""
    assert sweep.search is not None
    spec = sweep.search.space
    table = "rewards" if cell.thinking else "rewards_no_think"
    earned = sweep.task.default_weights(cell.thinking)
    start = start_of(sweep)
    own: dict[str, JsonValue] = {key: setting_at(start, key) for key in spec.settings}
    if "grpo.learning_rate" in own:
        own["grpo.learning_rate"] = cell.grpo.learning_rate  # Null in the file is the model's.
    own[table] = dict(cell.weights)
    curriculum = f"curricula.{cell.curriculum}"
    own[curriculum] = [stage.model_dump(mode="json") for stage in cell.stages]
    return CellSpace(
        spec=spec,
        table=table,
        components=[name for name in sweep.task.components if earned.get(name)],
        cell=own,
        curriculum=curriculum,
    )


def _suggest(trial: optuna.Trial, key: str, dimension: DimensionSpec) -> JsonValue:
    if dimension.choices is not None:
        return _plain(dimension, trial.suggest_categorical(key, _choices(dimension)))
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.is_whole:
        return int(
            trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
        )
    return float(trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log))


def _param(key: str, dimension: DimensionSpec, value: JsonValue) -> Any:
    if dimension.choices is not None:
        if value not in dimension.choices:
            shown = ", ".join(map(str, dimension.choices))
            raise SpecError(f"{key} = {value} is none of the searched choices {shown}.")
        return value if _is_simple(dimension) else json.dumps(value)
    assert dimension.low is not None
    assert dimension.high is not None
    if not (isinstance(value, int | float) and dimension.low <= value <= dimension.high):
        raise SpecError(
            f"{key} = {value} lies outside the searched {dimension.low:g} to {dimension.high:g}."
        )
    return value


def _distribution(dimension: DimensionSpec) -> BaseDistribution:
    if dimension.choices is not None:
        return CategoricalDistribution(_choices(dimension))
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.is_whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _choices(dimension: DimensionSpec) -> list[Any]:
    """Return choices that Optuna can store: scalars as they are, else all as JSON text."""
    choices = list(dimension.choices or ())
    return choices if _is_simple(dimension) else [json.dumps(choice) for choice in choices]


def _plain(dimension: DimensionSpec, chosen: Any) -> JsonValue:
    return chosen if _is_simple(dimension) else json.loads(chosen)  # type: ignore[no-any-return]


def _is_simple(dimension: DimensionSpec) -> bool:
    return all(
        choice is None or isinstance(choice, bool | int | float | str)
        for choice in dimension.choices or ()
    )


def weights_of(
    names: Sequence[str], sticks: Sequence[float], *, min_weight: float
) -> dict[str, float]:
    """Return weights that add up to 1, rounded to four decimals.

    Stick breaking (Devroye 1986, ch. XI.4): with k weights, the i-th breaks off a share
    ``1 - (1 - u_i)^(1 / (k - 1 - i))`` of what is left, so that even draws of u give even draws
    from the simplex. A floor keeps every weight above ``min_weight``.

    Args:
        names: k names.
        sticks: k - 1 numbers u in [0, 1].
        min_weight: Least weight; k of them are at most 1.
    """
    free = 1.0 - len(names) * min_weight
    left, rest = 1.0, 1.0
    weights = {}
    for index, (name, stick) in enumerate(zip(names[:-1], sticks, strict=True)):
        share = left * (1.0 - (1.0 - stick) ** (1.0 / (len(names) - 1 - index)))
        # Rounding up must not take what the last weights do not have.
        weights[name] = min(round(min_weight + free * share, DECIMALS), rest)
        left, rest = left - share, round(rest - weights[name], DECIMALS)
    weights[names[-1]] = rest
    return weights


def sticks_of(weights: Mapping[str, float], *, min_weight: float) -> list[float]:
    """Return the numbers from which ``weights_of`` makes these weights, whatever their sum.

    Raises:
        ValueError: A weight is below the floor.
    """
    total = sum(weights.values())
    free = 1.0 - len(weights) * min_weight
    shares = []
    for name, weight in weights.items():
        share = (weight / total - min_weight) / free if free else 0.0
        if share < -1e-6:
            raise ValueError(f"{name} = {weight / total:.4g} is below {min_weight:g}")
        shares.append(max(share, 0.0))
    sticks = []
    left = 1.0
    for index, share in enumerate(shares[:-1]):
        broken = min(share / left, 1.0) if left > 0 else 0.0
        sticks.append(1.0 - (1.0 - broken) ** (len(shares) - 1 - index))
        left -= share
    return sticks
