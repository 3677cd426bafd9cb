"""What early stopping would have cost: its rule replayed on points that all ran to their end.

A study with ``scheduler.kind = watch`` evaluates its points in between and stops none, so that
their interim values and their final ones are known. Its points are then put through each rule in
many random orders: how often does it stop the point that is best in the end, and how many steps
does it save?
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import optuna
import pandas as pd

from strictune.config import ObjectiveSpec, SchedulerSpec, cell_trial
from strictune.errors import SpecError
from strictune.launch.study.interim import interim_folder, interim_table, median_point, p_beaten
from strictune.launch.study.samplers import pruner_for
from strictune.records import STUDIES, Point, PointState, Study

__all__ = ["WrongStops", "replay_stops", "stop_sentences"]

NUM_ORDERS = 200
KINDS = ("asha", "median", "dominated")

Interim: TypeAlias = Sequence[Mapping[int, float]]
"""Of each point its values by step, the greater the better."""
Rule: TypeAlias = Callable[[Sequence[int]], dict[int, int]]
"""Puts points through a rule in an order, one after the other; returns the steps each one ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongStops:
    """What one rule would have done to a study, over random orders of its points."""

    cell: str
    kind: str
    num_points: int
    num_orders: int
    winner_stopped_frac: float
    """Orders in which the point that is best in the end was stopped."""
    lost: float
    """Mean of what the best finished point then falls short of the best one, in the metric."""
    saved_steps_frac: float
    """Training steps that were not spent."""


def replay_stops(studies: Sequence[Study], trials: Path, *, seed: int = 0) -> list[WrongStops]:
    """Replay each rule on the studies of ``studies.json`` that watched their points.

    Args:
        studies: Those with several objectives are replayed on the first one.
        trials: The folder of the sweep's trials, with the answers that ``dominated`` compares; it
            is left out where there are none, and with several objectives.
        seed: Of the orders.

    Raises:
        SpecError: No study watched two points or more to their end.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = []
    for study in studies:
        points = [
            point for point in study.points if point.values is not None and point.interim_values
        ]
        if len(points) < 2 or any(point.state is PointState.STOPPED for point in study.points):
            continue
        found += [
            _replay(study, points, kind, trials, seed=seed)
            for kind in KINDS
            if kind != "dominated" or _has_answers(study, points, trials)
        ]
    if not found:
        raise SpecError(
            "no study has evaluated two points or more in between and stopped none. Run a search "
            "with search.scheduler.kind = watch."
        )
    return found


def stop_sentences(found: Sequence[WrongStops]) -> list[str]:
    """Say what each rule would have cost."""
    return [
        f"{stops.cell}: {stops.kind} stops the eventual winner in {stops.winner_stopped_frac:.0%} "
        f"of {stops.num_orders} orders of {stops.num_points} points, loses {stops.lost:.4f} of the "
        f"objective on average, and saves {stops.saved_steps_frac:.0%} of the steps."
        for stops in found
    ]


def _has_answers(study: Study, points: Sequence[Point], trials: Path) -> bool:
    return len(study.objectives) == 1 and all(
        (interim_folder(trials / point.trials[0], step) / "samples.parquet").exists()
        for point in points
        for step in point.interim_values
    )


def _replay(
    study: Study, points: Sequence[Point], kind: str, trials: Path, *, seed: int
) -> WrongStops:
    sign = study.objectives[0].sign
    values = [sign * point.value for point in points]
    interim = [
        {step: sign * value for step, value in point.interim_values.items()} for point in points
    ]
    where = f"{trials.with_name(STUDIES)}: {study.cell}"
    max_steps = sum(cell_trial(study.config, where=where).stage_steps)
    first = min(min(found) for found in interim)
    scheduler = SchedulerSpec(kind=kind, min_steps=first, reduction_factor=_factor(interim))  # type: ignore[arg-type]
    rule = (
        _dominated(study, points, interim, trials, alpha=scheduler.alpha, max_steps=max_steps)
        if kind == "dominated"
        else _pruned(interim, values, scheduler, max_steps=max_steps)
    )
    generator = random.Random(seed)
    num_stopped, lost, saved = 0, 0.0, 0.0
    best = max(range(len(points)), key=values.__getitem__)
    for _ in range(NUM_ORDERS):
        order = generator.sample(range(len(points)), len(points))
        steps = rule(order)
        finished = [values[index] for index in order if steps[index] == max_steps]
        num_stopped += steps[best] < max_steps
        lost += values[best] - max(finished)
        saved += 1 - sum(steps.values()) / (max_steps * len(points))
    return WrongStops(
        cell=study.cell,
        kind=kind,
        num_points=len(points),
        num_orders=NUM_ORDERS,
        winner_stopped_frac=num_stopped / NUM_ORDERS,
        lost=lost / NUM_ORDERS,
        saved_steps_frac=saved / NUM_ORDERS,
    )


def _pruned(
    interim: Interim, values: Sequence[float], scheduler: SchedulerSpec, *, max_steps: int
) -> Rule:
    """Return one of Optuna's pruners."""

    def run(order: Sequence[int]) -> dict[int, int]:
        study = optuna.create_study(direction="maximize", pruner=pruner_for(scheduler))
        steps = {}
        for index in order:
            trial = study.ask()
            steps[index] = max_steps
            for step, value in sorted(interim[index].items()):
                trial.report(value, step)
                if trial.should_prune():
                    steps[index] = step
                    break
            if steps[index] < max_steps:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, values[index])
        return steps

    return run


def _dominated(
    study: Study,
    points: Sequence[Point],
    interim: Interim,
    trials: Path,
    *,
    alpha: float,
    max_steps: int,
) -> Rule:
    """Return the rule of ``interim.dominating_point`` for one objective."""
    objectives = [ObjectiveSpec(**found.model_dump()) for found in study.objectives]

    @cache
    def table(index: int, step: int) -> pd.DataFrame:
        return interim_table([trials / name for name in points[index].trials], step)

    @cache
    def p(index: int, other: int, step: int) -> float:
        return p_beaten(table(index, step), table(other, step), objectives)

    def run(order: Sequence[int]) -> dict[int, int]:
        seen: dict[int, dict[int, float]] = {}
        steps = {}
        for index in order:
            steps[index] = max_steps
            for step, value in sorted(interim[index].items()):
                before = seen.setdefault(step, {})
                opponents = median_point(before)
                before[index] = value
                if any(p(index, other, step) < alpha / len(interim[index]) for other in opponents):
                    steps[index] = step
                    break
        return steps

    return run


def _factor(interim: Sequence[Mapping[int, float]]) -> int:
    """Return the factor between the steps, 2 where there is only one."""
    steps = sorted(interim[0])
    return max(2, math.floor(steps[1] / steps[0])) if len(steps) > 1 else 2
