"""Points of earlier sweeps, put at the beginning of a study."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from strictune.config import TrialSpec, load_trial
from strictune.errors import SpecError, StorageError
from strictune.launch.study.cell_study import ORIGIN, REASON, SETTINGS, TRIALS, CellStudy
from strictune.records import Point, PointState, Study, read_studies

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

    Their bounds may be others; points outside this study's space are left out. Returns how many
    points were added. A study that has points already gets none.

    Raises:
        SpecError: A folder holds no study of this cell, or one whose values mean something else.
    """
    if study.study.get_trials(deepcopy=False):
        return 0
    num_added = 0
    for name in sweeps:
        for point in _points_of(Path(name), study):
            try:
                params = study.space.params(point.settings)
            except SpecError as error:
                logger.info("point %s of %s is left out: %s", point.number, name, error)
                continue
            study.study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions=study.space.distributions(params),
                    values=point.values,
                    constraints=point.constraints or None,
                    user_attrs={
                        ORIGIN: name,
                        SETTINGS: point.settings,
                        REASON: None,
                        TRIALS: [],
                    },
                )
            )
            num_added += 1
    return num_added


def _points_of(sweep: Path, study: CellStudy) -> list[Point]:
    try:
        studies = read_studies(sweep)
    except StorageError as error:
        raise SpecError(f"search.warm_start: {error}") from error
    for found in studies:
        if found.cell == study.name:
            finished = [point for point in found.points if point.state is PointState.FINISHED]
            _check_same_meaning(sweep, found, finished, study)
            return finished
    cells = ", ".join(found.cell for found in studies)
    raise SpecError(f"search.warm_start: {sweep} has no study of {study.name}, only of {cells}.")


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
    different = _differences(theirs, ours, but=_searched(study))
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
