"""From a sweep to its trials: the matrix crossed with its seeds, in a fixed order."""

import itertools
from collections import Counter
from typing import Any, NamedTuple

from pydantic import ValidationError

from strictune.config.base import PROBLEMS, Problem
from strictune.config.naming import short_model_name
from strictune.config.settings import (
    CROSSED_KEYS,
    Settings,
    SettingsError,
    Start,
    apply_settings,
    file_key,
)
from strictune.config.sweep import MATRIX_KEYS, SweepSpec
from strictune.config.trial import TrialSpec, TrialTemplate
from strictune.errors import SpecError

__all__ = ["Expansion", "expand", "expand_or_explain", "resolve_point", "start_of"]


class Expansion(NamedTuple):
    """The trials of a sweep, and why some cells cannot be trained."""

    trials: tuple[TrialSpec, ...]
    problems: tuple[Problem, ...]


def expand(sweep: SweepSpec) -> tuple[TrialSpec, ...]:
    """Return every trial of the matrix, in the order of ``MATRIX_KEYS``, models outermost.

    Raises:
        SpecError: a cell cannot be trained as written.
    """
    trials, problems = expand_or_explain(sweep)
    if problems:
        lines = (f"sweep {sweep.name}: {problem.key} {problem.text}" for problem in problems)
        raise SpecError("\n".join(lines))
    return trials


def expand_or_explain(sweep: SweepSpec) -> Expansion:
    """Expand ``sweep`` and collect what is wrong, each problem once and in keys of the file.

    A variant of what only GRPO reads makes no other supervised trial: the first one stands for all.
    """
    trials: list[TrialSpec] = []
    supervised: set[str] = set()
    problems: dict[Problem, None] = {}
    labels = _model_labels(_axis(sweep, "model"))
    for values in itertools.product(*(_axis(sweep, key) for key in MATRIX_KEYS)):
        point: dict[str, Any] = dict(zip(MATRIX_KEYS, values, strict=True))
        try:
            start = apply_settings(start_of(sweep), _settings(sweep, point["variant"]))
            trial = _resolve(sweep, start, point, label=labels[str(point["model"])])
            if trial.method != "sft" or trial.fingerprint not in supervised:
                trials.append(trial)
            if trial.method == "sft":
                supervised.add(trial.fingerprint)
        except (ValidationError, SettingsError) as error:
            for found in _cell_problems(error):
                problems[_in_file_keys(found, sweep, point["variant"])] = None
    return Expansion(tuple(trials), tuple(problems))


def start_of(sweep: SweepSpec) -> Start:
    """Return the blocks of a sweep that settings are applied to."""
    return Start(trial=sweep.trial, task=sweep.task)


def resolve_point(
    sweep: SweepSpec, cell: TrialSpec, settings: Settings, *, variant: str, seed: int
) -> TrialSpec:
    """Return the trial of ``cell`` with other settings, under a name of its own.

    Raises:
        SettingsError: These settings cannot be put on top of what the sweep's trials start from.
        pydantic.ValidationError: With them there is no trial of this cell.
    """
    point = {key: getattr(cell, key) for key in CROSSED_KEYS} | {"variant": variant, "seed": seed}
    start = apply_settings(start_of(sweep), settings)
    return _resolve(sweep, start, point, label=cell.model_label)


def _axis(sweep: SweepSpec, key: str) -> tuple[object, ...]:
    values = getattr(sweep.matrix, key)
    return tuple(values) if values is not None else (getattr(sweep.trial, key, None),)


def _settings(sweep: SweepSpec, variant: str | None) -> Settings:
    return {} if variant is None else (sweep.matrix.variant or {})[variant]


def _model_labels(models: tuple[object, ...]) -> dict[str, str | None]:
    """Names of the models in this sweep: null, or the full name where short ones collide."""
    names = [str(model) for model in models]
    times = Counter(short_model_name(name) for name in names)
    return {name: name if times[short_model_name(name)] > 1 else None for name in names}


def _resolve(
    sweep: SweepSpec, start: Start, point: dict[str, Any], *, label: str | None
) -> TrialSpec:
    given: dict[str, Any] = {
        name: getattr(start.trial, name) for name in TrialTemplate.model_fields
    }
    trial = TrialSpec(
        **given | point, task=start.task, evaluation=sweep.evaluation, model_label=label
    )
    table = "rewards" if trial.thinking else "rewards_no_think"
    return trial.model_copy(
        update={table: trial.weights, "curricula": {trial.curriculum: trial.stages}}
    )


def _cell_problems(error: ValidationError | SettingsError) -> list[Problem]:
    """Return what is wrong with a cell, in keys of settings."""
    if isinstance(error, SettingsError):
        return [item._replace(key=item.key.removeprefix("trial.")) for item in error.problems]
    found: list[Problem] = []
    for item in error.errors():
        if item["type"] == PROBLEMS:
            found += item["ctx"][PROBLEMS]
        else:
            found.append(Problem(".".join(map(str, item["loc"])), f"is wrong: {item['msg']}."))
    return found


def _in_file_keys(problem: Problem, sweep: SweepSpec, variant: str | None) -> Problem:
    for key in _settings(sweep, variant):
        ours, found = f"{key}.", f"{problem.key}."
        if ours.startswith(found) or found.startswith(ours):
            return problem._replace(key=f"matrix.variant.{variant}.{problem.key}")
    if problem.key in MATRIX_KEYS and getattr(sweep.matrix, problem.key) is not None:
        return problem._replace(key=f"matrix.{problem.key}")
    return problem._replace(key=file_key(problem.key))
