"""Whether every point that a search can draw makes a trial of its cells."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from strictune.config.base import Problem
from strictune.config.expansion import resolve_point, start_of
from strictune.config.search import PROMPT_MEANS, DimensionSpec, SimplexSpec
from strictune.config.settings import SettingsError, setting_at
from strictune.config.sweep import SweepSpec
from strictune.config.trial import TrialSpec
from strictune.errors import did_you_mean

__all__ = ["search_problems"]


MAX_CORNERS = 256
"""Combinations of extremes that are tried; a space of more can still fail where it is drawn."""

_ZERO = {
    "components": ("leaves out {}, which means weight 0", "Add {}"),
    "may_be_zero": ("lets {} have no weight", "Take {} out"),
    "min_weight": ("= 0 lets {} have no weight", "Raise it above 0"),
}
"""What can leave a decisive component without weight, and the cure."""


def search_problems(sweep: SweepSpec, cells: Sequence[TrialSpec]) -> list[Problem]:
    """Try the ends of every range, every choice, each zeroed component and the first points.

    Returns:
        What cannot be trained in the cells of a sweep, each problem once, in keys of the file.
    """
    if sweep.search is None:
        return []
    found = dict.fromkeys(_objective_problems(sweep))
    for cell in {trial.cell: trial for trial in cells}.values():
        for problem in (*_simplex_problems(sweep, cell), *_setting_problems(sweep, cell)):
            found[problem] = None
        if found:
            continue  # What stands in the way of single settings stands in their combinations.
        for index, settings in enumerate(sweep.search.first):
            for problem in _trial_problems(sweep, cell, settings, f"search.first.{index}"):
                found[problem] = None
    return list(found)


def _objective_problems(sweep: SweepSpec) -> Iterator[Problem]:
    """Check that ``dominated`` can compare each objective prompt by prompt."""
    assert sweep.search is not None
    if sweep.search.scheduler.kind != "dominated":
        return
    known = [f"eval/{name}/pass_at_1" for name in sweep.task.criteria]
    known += PROMPT_MEANS
    for index, objective in enumerate(sweep.search.objectives or ()):
        if objective.metric not in known:
            text = (
                f"= {objective.metric} is no mean over prompts, which scheduler.kind = dominated "
                f"compares, expected one of {', '.join(known)}."
            )
            yield Problem(f"search.objectives.{index}.metric", text)


def _simplex_problems(sweep: SweepSpec, cell: TrialSpec) -> Iterator[Problem]:
    assert sweep.search is not None
    space = sweep.search.space
    simplices = {"rewards": space.rewards} if space.rewards is not None else {}
    simplices |= {f"stage_rewards.{name}": found for name, found in space.stage_rewards.items()}
    stages = [stage.name for stage in cell.reward_stages]
    for name in space.stage_rewards:
        if name not in stages:
            known = ", ".join(stages)
            text = f"is not a stage of {cell.curriculum} with rewards, expected some of {known}."
            yield Problem(f"search.space.stage_rewards.{name}", text + did_you_mean(name, stages))
    for key, simplex in simplices.items():
        yield from _weights_problems(sweep, cell, simplex, place=f"search.space.{key}")


def _weights_problems(
    sweep: SweepSpec, cell: TrialSpec, simplex: SimplexSpec, *, place: str
) -> Iterator[Problem]:
    known = list(sweep.task.components)
    for key in ("components", "may_be_zero"):
        for name in getattr(simplex, key) or ():
            if name not in known:
                text = f"names {name}, expected some of {', '.join(known)}."
                yield Problem(f"{place}.{key}", text + did_you_mean(name, known))
                return
    components = _components(sweep, cell, simplex)
    if len(components) * simplex.min_weight > 1:
        text = f"= {simplex.min_weight:g} for each of {len(components)} components is more than 1."
        yield Problem(f"{place}.min_weight", text)
    if sweep.trial.allow_ties:
        return
    decisive = [name for name in known if name in sweep.task.decisive_components(cell.thinking)]
    zeros = {
        "components": [name for name in decisive if name not in components],
        "may_be_zero": [name for name in decisive if name in simplex.may_be_zero],
        "min_weight": decisive if simplex.min_weight == 0 else [],
    }
    for key, names in zeros.items():
        if names:
            reason, cure = (text.format(", ".join(names)) for text in _ZERO[key])
            text = (
                f"{reason}, so that a completion that fails the task can earn as much as one that "
                f"passes. {cure}, or set trial.allow_ties: true."
            )
            yield Problem(f"{place}.{key}", text)
            return


def _components(sweep: SweepSpec, cell: TrialSpec, simplex: SimplexSpec) -> list[str]:
    earned = sweep.task.default_weights(cell.thinking)
    wanted = simplex.components or tuple(earned)
    return [name for name in wanted if earned.get(name)]


def _setting_problems(sweep: SweepSpec, cell: TrialSpec) -> Iterator[Problem]:
    assert sweep.search is not None
    dimensions = sweep.search.space.settings
    unknown = [key for key in dimensions if not _is_setting(sweep, key)]
    if unknown:
        for key in unknown:
            text = "is not a setting of trial or task; give its dotted key."
            if key.split(".")[0] in ("rewards", "rewards_no_think"):
                text = "is a reward weight, and these are searched in search.space.rewards."
            yield Problem(f"search.space.settings.{key}", text)
        return
    for key, dimension in dimensions.items():
        for value in _extremes(dimension):
            place = f"search.space.settings.{key}"
            given = {other: allowed[0] for other, allowed in (dimension.when or {}).items()}
            yield from _trial_problems(sweep, cell, {**given, key: value}, place)
    corners = itertools.product(*map(_extremes, dimensions.values()))
    for values in itertools.islice(corners, MAX_CORNERS):
        drawn: dict[str, JsonValue] = {}
        for (key, dimension), value in zip(dimensions.items(), values, strict=True):
            if all(
                drawn.get(other) in allowed for other, allowed in (dimension.when or {}).items()
            ):
                drawn[key] = value
        yield from itertools.islice(_trial_problems(sweep, cell, drawn, "search.space.settings"), 1)


def _is_setting(sweep: SweepSpec, key: str) -> bool:
    try:
        setting_at(start_of(sweep), key)
    except KeyError:
        return False
    return True


def _extremes(dimension: DimensionSpec) -> Sequence[JsonValue]:
    if dimension.choices is not None:
        return dimension.choices
    return (dimension.low, dimension.high)


def _trial_problems(
    sweep: SweepSpec, cell: TrialSpec, settings: Mapping[str, JsonValue], place: str
) -> Iterator[Problem]:
    try:
        resolve_point(sweep, cell, dict(settings), variant="point", seed=cell.seed)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        shown = ", ".join(f"{key} = {_shown(value)}" for key, value in settings.items())
        yield Problem(place, f"makes no trial with {shown}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    if not isinstance(error, ValidationError):
        return f"{error}."
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where} {first['msg']}".strip()


def _shown(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
