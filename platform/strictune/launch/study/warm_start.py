"""Points of earlier sweeps, put at the beginning of a study."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from analysis.study.earlier import earlier_study
from strictune.config import Settings, TrialSpec, load_trial
from strictune.errors import SpecError
from strictune.launch.study.cell_study import ORIGIN, REASON, SETTINGS, TRIALS, CellStudy
from strictune.records import Point, PointState, Study

__all__ = ["add_earlier_points"]

logger = logging.getLogger(__name__)

MEANS_NOTHING: dict[str, bool | set[str]] = {
    **dict.fromkeys(
        ("seed", "variant", "interim_steps", "model_label", "checkpoint", "allow_ties"), True
    ),
    **dict.fromkeys(("distributed", "sft"), True),
    "grpo": {"logging_steps"},
}
"""Keys of a trial in which points of one study may differ, or that say nothing in this form."""


def add_earlier_points(study: CellStudy, sweeps: Sequence[str]) -> int:
    """Give a new study the finished points of the same cell in earlier sweeps.

    Their bounds may be others; points outside this study's space are left out. Where an earlier
    sweep has the cell with another model only, its values mean nothing here: of its points, from
    the best to the worst, as many as ``num_startup_trials`` are measured again behind the study's
    own first ones. Returns how many points were added with their values. A study that has points
    already gets none.

    Raises:
        SpecError: A folder holds no study of this cell, or one whose values mean something else.
    """
    if study.study.get_trials(deepcopy=False):
        return 0
    num_added = 0
    queued: list[Settings] = []
    for name in sweeps:
        found = earlier_study(name, study.name)
        points = [point for point in found.points if point.state is PointState.FINISHED]
        _check_same_meaning(Path(name), found, points, study)
        points = [point for point in points if _lies_inside(point, study, name)]
        if found.cell != study.name:
            queued += _spread(points, found, count=study.search.num_startup_trials)
            continue
        for point in points:
            _add(study, point, name)
        num_added += len(points)
    first = study.search.first
    study.enqueue([*first, *(settings for settings in queued if settings not in first)])
    return num_added


def _lies_inside(point: Point, study: CellStudy, sweep: str) -> bool:
    try:
        study.space.params(point.settings)
    except SpecError as error:
        logger.info("point %s of %s is left out: %s", point.number, sweep, error)
        return False
    return True


def _add(study: CellStudy, point: Point, sweep: str) -> None:
    params = study.space.params(point.settings)
    study.study.add_trial(
        optuna.trial.create_trial(
            params=params,
            distributions=study.space.distributions(params),
            values=point.values,
            constraints=point.constraints or None,
            user_attrs={ORIGIN: sweep, SETTINGS: point.settings, REASON: None, TRIALS: []},
        )
    )


def _spread(points: Sequence[Point], study: Study, *, count: int) -> list[Settings]:
    """Return the settings of so many points, the best first, then evenly down to the worst."""
    sign = study.objectives[0].sign
    ranked = sorted(points, key=lambda point: sign * point.value, reverse=True)
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place].settings for place in places.tolist()]


def _check_same_meaning(
    sweep: Path, found: Study, points: Sequence[Point], study: CellStudy
) -> None:
    theirs_of = [objective.model_dump() for objective in found.objectives]
    if theirs_of != [objective.model_dump() for objective in study.objectives]:
        raise SpecError(f"search.warm_start: {sweep} has other objectives: {theirs_of}.")
    ids = [trial_id for point in points for trial_id in point.trials]
    if not ids:
        return
    theirs = load_trial(sweep / "trials" / ids[0] / "trial.yaml")
    ours = study.trial_spec({}, "cell", study.cell.seed)
    may_differ = _searched(study) | ({"model"} if found.cell != study.name else set())
    different = _differences(theirs, ours, but=may_differ)
    if different:
        raise SpecError(
            f"search.warm_start: the points of {sweep} were measured under another "
            f"{', '.join(different)}. Values under different settings do not belong into one study."
        )


def _searched(study: CellStudy) -> set[str]:
    spec = study.space.spec
    stages = {
        f"{study.space.curriculum}.{index}.rewards"
        for index, stage in enumerate(study.cell.stages)
        if stage.name in spec.stage_rewards
    }
    return {"rewards", "rewards_no_think", *spec.settings, *stages}


def _differences(theirs: TrialSpec, ours: TrialSpec, *, but: set[str]) -> list[str]:
    first, second = _flat(_meaning(theirs)), _flat(_meaning(ours))
    return [
        key
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
        and not any(f"{key}.".startswith(f"{name}.") for name in but)
    ]


def _meaning(trial: TrialSpec) -> dict[str, Any]:
    """Return what can change a trial's values: not where or how hard a server is asked."""
    stages = {str(index): stage.model_dump(mode="json") for index, stage in enumerate(trial.stages)}
    return {
        **trial.model_dump(mode="json", exclude=MEANS_NOTHING),
        **trial.distributed.identity,
        "task": trial.task.identity(),
        "rollouts": trial.rollouts.identity,
        "curricula": {trial.curriculum: stages},
    }


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
