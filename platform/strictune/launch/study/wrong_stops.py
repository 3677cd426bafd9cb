"""What early stopping would have cost: its rule replayed on points that all ran to their end.

A study with ``scheduler.kind = watch`` evaluates its points in between and stops none, so that
their interim values and their final ones are known. Its points are then put through a pruner in
many random orders: how often does it stop the point that is best in the end, and how many steps
does it save?
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna

from strictune.config import SchedulerSpec
from strictune.errors import SpecError
from strictune.launch.study.samplers import pruner_for
from strictune.records import Point, PointState, Study

__all__ = ["WrongStops", "replay_stops", "stop_sentences"]

NUM_ORDERS = 200
KINDS = ("asha", "median")


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


def replay_stops(studies: Sequence[Study], *, seed: int = 0) -> list[WrongStops]:
    """Replay each rule on the studies of ``studies.json`` that watched their points.

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
        found += [_replay(study, points, kind, seed=seed) for kind in KINDS]
    if not found:
        raise SpecError(
            "no study has looked at two points or more and stopped none. Run a search with "
            "search.scheduler.kind = watch."
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


def _replay(study: Study, points: Sequence[Point], kind: str, *, seed: int) -> WrongStops:
    sign = study.objectives[0].sign
    values = [sign * point.value for point in points]
    interim = [
        {step: sign * value for step, value in point.interim_values.items()} for point in points
    ]
    max_steps = int(study.config["grpo"]["max_steps"])
    first = min(min(found) for found in interim)
    scheduler = SchedulerSpec(kind=kind, min_steps=first, reduction_factor=_factor(interim))  # type: ignore[arg-type]
    generator = random.Random(seed)
    num_stopped, lost, saved = 0, 0.0, 0.0
    best = max(range(len(points)), key=values.__getitem__)
    for _ in range(NUM_ORDERS):
        order = generator.sample(range(len(points)), len(points))
        steps = _steps_run(order, interim, values, scheduler, max_steps=max_steps)
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


def _steps_run(
    order: Sequence[int],
    interim: Sequence[Mapping[int, float]],
    values: Sequence[float],
    scheduler: SchedulerSpec,
    *,
    max_steps: int,
) -> dict[int, int]:
    """Put points through the rule one after the other; returns the steps that each one ran."""
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


def _factor(interim: Sequence[Mapping[int, float]]) -> int:
    """Return the factor between the steps, 2 where there is only one."""
    steps = sorted(interim[0])
    return max(2, math.floor(steps[1] / steps[0])) if len(steps) > 1 else 2
