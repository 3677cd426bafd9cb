"""From a sweep to its trials: the matrix crossed with its seeds, in a fixed order."""

import itertools
from collections import Counter
from typing import Any, NamedTuple

from pydantic import ValidationError

from strictune.config.base import PROBLEMS, Problem
from strictune.config.naming import short_model_name
from strictune.config.sweep import MATRIX_KEYS, SweepSpec
from strictune.config.trial import TrialSpec
from strictune.errors import SpecError

__all__ = ["Expansion", "expand", "expand_or_explain"]


class Expansion(NamedTuple):
    """The trials of a sweep, and why some cells cannot be trained."""

    trials: tuple[TrialSpec, ...]
    problems: tuple[Problem, ...]


def expand(sweep: SweepSpec) -> tuple[TrialSpec, ...]:
    """Return every trial of ``sweep``: models outermost, then thinking, curriculum and seed.

    Raises:
        SpecError: a cell cannot be trained as written.
    """
    trials, problems = expand_or_explain(sweep)
    if problems:
        lines = (f"sweep {sweep.name}: {problem.key} {problem.text}" for problem in problems)
        raise SpecError("\n".join(lines))
    return trials


def expand_or_explain(sweep: SweepSpec) -> Expansion:
    """Expand ``sweep`` and collect what is wrong, each problem once and in keys of the file."""
    trials: list[TrialSpec] = []
    problems: dict[Problem, None] = {}
    labels = _model_labels(_axis(sweep, "model"))
    for values in itertools.product(*(_axis(sweep, key) for key in MATRIX_KEYS)):
        point = dict(zip(MATRIX_KEYS, values, strict=True))
        try:
            trials.append(_resolve(sweep, point, label=labels[str(point["model"])]))
        except ValidationError as error:
            for found in _cell_problems(error):
                problems[_in_file_keys(found, sweep)] = None
    return Expansion(tuple(trials), tuple(problems))


def _axis(sweep: SweepSpec, key: str) -> tuple[object, ...]:
    values = getattr(sweep.matrix, key)
    return tuple(values) if values is not None else (getattr(sweep.trial, key),)


def _model_labels(models: tuple[object, ...]) -> dict[str, str | None]:
    """Names of the models in this sweep: null, or the full name where short ones collide."""
    names = [str(model) for model in models]
    times = Counter(short_model_name(name) for name in names)
    return {name: name if times[short_model_name(name)] > 1 else None for name in names}


def _resolve(sweep: SweepSpec, point: dict[str, Any], *, label: str | None) -> TrialSpec:
    given: dict[str, Any] = {
        name: getattr(sweep.trial, name) for name in type(sweep.trial).model_fields
    }
    trial = TrialSpec(
        **given | point, task=sweep.task, evaluation=sweep.evaluation, model_label=label
    )
    table = "rewards" if trial.thinking else "rewards_no_think"
    return trial.model_copy(
        update={table: trial.weights, "curricula": {trial.curriculum: trial.stages}}
    )


def _cell_problems(error: ValidationError) -> list[Problem]:
    found: list[Problem] = []
    for item in error.errors():
        if item["type"] == PROBLEMS:
            found += item["ctx"][PROBLEMS]
        else:
            found.append(Problem(".".join(map(str, item["loc"])), f"is wrong: {item['msg']}."))
    return found


def _in_file_keys(problem: Problem, sweep: SweepSpec) -> Problem:
    if problem.key in MATRIX_KEYS and getattr(sweep.matrix, problem.key) is not None:
        return problem._replace(key=f"matrix.{problem.key}")
    return problem._replace(key=f"trial.{problem.key}")
