"""The plan of a sweep, made before anything starts.

A sweep and its trials go in, the document that ``plan.json`` holds comes out. What they will cost
depends on the machine and is ``costs``' business. ``check_tasks`` alone reads anything: the files
that tasks name.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from strictune.config import StageSpec, SweepSpec, TrialSpec, expand
from strictune.config.sweep import MATRIX_KEYS
from strictune.config.training import SftSpec, grpo_learning_rate
from strictune.config.yaml_text import parse_yaml
from strictune.errors import SpecError, did_you_mean
from trainables.tasks import load_task
from trainables.tasks.checking import check_task
from trainables.tasks.task import OnProgress

__all__ = [
    "SharedBudget",
    "check_tasks",
    "costed_trials",
    "expand",
    "golds_sentences",
    "low_rate_sentences",
    "parse_only",
    "plan_document",
    "search_sentence",
    "select",
    "shared_budgets",
]

Only = Mapping[str, Sequence[Any]]


class SharedBudget(NamedTuple):
    """What the trials of a sweep may use together."""

    key: str
    """Where it stands in the sweep file."""
    sweep: float
    """All of it."""
    process: float | None
    """The share of a trial's process; None where it is not known how many trials run at once."""


def parse_only(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``key=value`` filters; values of one key are alternatives, keys must all hold.

    Raises:
        SpecError: a filter has no value, or a key that is none of the matrix.
    """
    only: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise SpecError(f"--only {text}: expected KEY=VALUE, e.g. --only thinking=true.")
        if key not in MATRIX_KEYS:
            known = ", ".join(MATRIX_KEYS)
            hint = did_you_mean(key, MATRIX_KEYS)
            raise SpecError(f"--only {text}: {key} is not one of {known}.{hint}")
        only.setdefault(key, []).append(parse_yaml(value, where=f"--only {text}"))
    return only


def select(trials: Sequence[TrialSpec], only: Only) -> tuple[TrialSpec, ...]:
    """Return the trials that pass the filters ``only``, in order.

    A model is named by its id or by its short name.

    Raises:
        SpecError: a filter matches no trial.
    """
    for key, values in only.items():
        for value in values:
            if not any(_matches(trial, key, value) for trial in trials):
                known = dict.fromkeys(_shown(getattr(trial, key)) for trial in trials)
                raise SpecError(
                    f"--only {key}={_shown(value)}: no trial of the sweep has it, "
                    f"expected one of {', '.join(known)}."
                )
    chosen = tuple(
        trial
        for trial in trials
        if all(any(_matches(trial, key, value) for value in values) for key, values in only.items())
    )
    if not chosen:
        filters = " ".join(f"--only {k}={_shown(v)}" for k, values in only.items() for v in values)
        raise SpecError(f"{filters}: no trial of the sweep passes all of these filters.")
    return chosen


def check_tasks(trials: Sequence[TrialSpec], on_progress: OnProgress | None = None) -> None:
    """Read and check all rows, the prompts, and what else the tasks of the trials need.

    Raises:
        SpecError: Something is missing or cannot be used.
    """
    different: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        different.setdefault(trial.task.model_dump_json(), []).append(trial)
    for members in different.values():
        modes = sorted({trial.thinking for trial in members})
        check_task(load_task(members[0].task), modes=modes, on_progress=on_progress)


def plan_document(sweep: SweepSpec, trials: Sequence[TrialSpec]) -> dict[str, Any]:
    """Return the plan as plain data: what ``plan.json`` and ``strictune plan --json`` hold."""
    cells = [list(members) for _, members in itertools.groupby(trials, key=lambda t: t.cell)]
    return {
        "sweep": sweep.name,
        "task": sweep.task.kind,
        "primary_criterion": sweep.task.primary_criterion,
        "criteria": list(sweep.task.criteria),
        "contrasts": list(sweep.contrasts),
        "search": None if sweep.search is None else sweep.search.model_dump(mode="json"),
        "resources": sweep.resources.model_dump(mode="json"),
        "num_cells": len(cells),
        "num_trials": len(trials),
        "cells": [_cell_document(members) for members in cells],
        "trials": [
            {
                "trial_id": trial.trial_id,
                "name": trial.display_name,
                "cell": trial.cell,
                **_settings(trial),
                "seed": trial.seed,
            }
            for trial in trials
        ],
    }


def costed_trials(sweep: SweepSpec, trials: Sequence[TrialSpec]) -> list[TrialSpec]:
    """Return the trials that the costs count: each one once, or as often as a search repeats it.

    A cell's own settings stand for its points and for the trials that confirm its winner.
    """
    search = sweep.search
    if search is None:
        return list(trials)
    paid = [trial for trial in trials for _ in range(search.num_trials)]
    if search.confirm is not None:
        num_variants = len(search.confirm.against) + 1
        first_of_cell = {trial.cell: trial for trial in trials}.values()
        times = num_variants * len(search.confirm.seeds)
        paid += [trial for trial in first_of_cell for _ in range(times)]
    return sorted(paid, key=lambda trial: trial.cell)


def shared_budgets(trials: Sequence[TrialSpec], *, at_once: int | None) -> list[SharedBudget]:
    """Return the budgets of the trials' tasks, as divided among those that run at the same time."""
    found: dict[SharedBudget, None] = {}
    for trial in trials:
        num_processes = (at_once or 0) * trial.distributed.num_workers
        shares = trial.task.shared_by(num_processes).limits() if num_processes else {}
        for key, limit in trial.task.limits().items():
            found[SharedBudget(f"task.{key}", limit, shares.get(key))] = None
    return list(found)


def search_sentence(sweep: SweepSpec) -> str | None:
    """Return a sentence on what the sweep's search will do; None without a search."""
    search = sweep.search
    if search is None:
        return None
    searched = ["reward weights"] if search.space.rewards is not None else []
    searched += list(search.space.settings)
    stopping = (
        "" if search.scheduler.kind == "none" else f", stopped early by {search.scheduler.kind}"
    )
    text = (
        f"Search in each cell: {search.num_trials} points of {', '.join(searched)} drawn by "
        f"{search.sampler}{stopping}, measured on the {sweep.evaluation.split} split"
    )
    if search.confirm is None:
        return f"{text}; no winner is trained again."
    against = " and ".join(search.confirm.against)
    seeds = ", ".join(map(str, search.confirm.seeds))
    split = sweep.evaluation.final_split
    return f"{text}; then the winner against {against} with seeds {seeds} on the {split} split."


def low_rate_sentences(trials: Sequence[TrialSpec]) -> list[str]:
    """Warn of cells with a stage whose learning rate is below a tenth of its default."""
    cells: dict[tuple[str, float, float], dict[str, None]] = {}
    for trial in trials:
        for index, stage in enumerate(trial.stages):
            key, own, default = _learning_rates(trial, stage)
            if stage.learning_rate is not None:
                key = f"curricula.{trial.curriculum}.{index}.learning_rate"
                own = stage.learning_rate
            if own < default / 10:
                cells.setdefault((key, own, default), {})[trial.cell] = None
    return [
        f"{key} = {own:g} is below a tenth of {default:g}, the default for an adapter on a model "
        f"of this size: expect little to be learned in {_first(list(names))}."
        for (key, own, default), names in cells.items()
    ]


def golds_sentences(trials: Sequence[TrialSpec]) -> list[str]:
    """Say that drawing golds takes time too, which no formula knows, where any are drawn."""
    draws = [
        trial.grpo.num_generations
        for trial in trials
        if trial.task.draws_golds and "sft" in trial.method_steps
    ]
    if not draws:
        return []
    return [
        "The hours leave out drawing golds (task.golds = grammar), once before the first trial "
        f"trains: up to {max(draws)} completions for each of its prompts, until one passes."
    ]


def _first(cells: Sequence[str]) -> str:
    return cells[0] + (f" and {len(cells) - 1} more cells" if len(cells) > 1 else "")


def _learning_rates(trial: TrialSpec, stage: StageSpec) -> tuple[str, float, float]:
    """Return the rate of a stage without one of its own: its key, its value and its default."""
    if trial.stage_method(stage) == "sft":
        return "sft.learning_rate", trial.sft.learning_rate, SftSpec().learning_rate
    assert trial.grpo.learning_rate is not None
    return "grpo.learning_rate", trial.grpo.learning_rate, grpo_learning_rate(trial.model)


def _cell_document(members: Sequence[TrialSpec]) -> dict[str, Any]:
    first = members[0]
    return {
        "name": first.cell,
        **_settings(first),
        "seeds": [trial.seed for trial in members],
        "stages": [
            {
                "name": stage.name,
                "steps": steps,
                "method": first.stage_method(stage),
                "weights": first.stage_weights(stage) if stage in first.reward_stages else {},
            }
            for stage, steps in zip(first.stages, first.stage_steps, strict=True)
        ],
        "completions_per_step": first.completions_per_step,
        "max_completion_tokens": first.max_completion_tokens,
        "max_evaluation_tokens": first.max_evaluation_tokens,
        "weights": first.weights if first.method == "grpo" else {},
        "ties": list(first.ties),
        "config": first.model_dump(mode="json", exclude={"seed", "model_label", "variant"}),
    }


def _settings(trial: TrialSpec) -> dict[str, Any]:
    """Return what tells a cell from the others."""
    keys = ("model", "thinking", "curriculum", "method", "variant")
    return {key: getattr(trial, key) for key in keys}


def _matches(trial: TrialSpec, key: str, value: object) -> bool:
    found = getattr(trial, key)
    if key == "model":
        return value in (found, trial.model_name)
    return type(value) is type(found) and value == found


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
