"""``studies.json``: what the studies of a sweep have tried, for whoever reads the folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from strictune.config import Settings
from strictune.launch.study.cell_study import ORIGIN, REASON, SETTINGS, TRIALS, CellStudy
from strictune.records import STUDIES, write_json

__all__ = ["best_point", "study_document", "write_studies"]

_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "open",
}


def write_studies(sweep: Path, studies: Sequence[CellStudy]) -> None:
    """Write the document of a sweep's studies; what was there is replaced."""
    document = {"studies": [study_document(study) for study in studies]}
    write_json(sweep / STUDIES, document)


def study_document(study: CellStudy) -> dict[str, Any]:
    """Return what one study has tried.

    Keys: cell, model, thinking, sampler, num_trials, objectives (metric, mode), components,
    default_weights, config (the cell's own trial), winner (a point's number, or null), and
    points: number, state (finished, stopped early, failed, open), is_from_before (measured by an
    earlier sweep), is_feasible, constraints, settings (by dotted key, on top of the cell's),
    weights (in effect), values (in the order of the objectives, or null), interim_values (of the
    first objective by step), reason, trials (ids, one a seed).
    """
    best = best_point(study)
    return {
        "cell": study.name,
        "model": study.cell.model,
        "thinking": study.cell.thinking,
        "sampler": study.search.sampler,
        "num_trials": study.search.num_trials,
        "objectives": [objective.model_dump() for objective in study.objectives],
        "components": list(study.space.components),
        "default_weights": study.cell.weights,
        "config": study.cell.model_dump(mode="json", exclude={"seed", "model_label"}),
        "winner": None if best is None else best.number,
        "points": [
            _point_document(study, trial)
            for trial in study.study.get_trials(deepcopy=False)
            if trial.state is not TrialState.WAITING
        ],
    }


def best_point(study: CellStudy) -> FrozenTrial | None:
    """Return the best feasible point of this sweep's own; the earlier one where two are equal.

    With several objectives it is the one of the Pareto front that is best in the first.
    """
    finished = [
        trial
        for trial in study.own_points
        if trial.state is TrialState.COMPLETE and _is_feasible(trial)
    ]
    signs = [1.0 if objective.mode == "max" else -1.0 for objective in study.objectives]

    def rank(trial: FrozenTrial) -> tuple[float, ...]:
        # The first objective decides, the others break its ties: that one lies on the front.
        return tuple(sign * value for sign, value in zip(signs, trial.values, strict=True))

    return max(finished, key=rank, default=None)


def settings_of(trial: FrozenTrial) -> Settings:
    """Return a point's settings on top of its cell's."""
    found: Settings = trial.user_attrs[SETTINGS]
    return found


def _point_document(study: CellStudy, trial: FrozenTrial) -> dict[str, Any]:
    settings = trial.user_attrs.get(SETTINGS, {})
    weights = settings.get(study.space.table, study.cell.weights)
    return {
        "number": trial.number,
        "state": _STATES[trial.state],
        "is_from_before": ORIGIN in trial.user_attrs,
        "is_feasible": _is_feasible(trial),
        "constraints": dict(trial.constraints),
        "settings": settings,
        "weights": weights,
        "values": list(trial.values) if trial.state is TrialState.COMPLETE else None,
        "interim_values": {
            str(step): value for step, value in sorted(trial.intermediate_values.items())
        },
        "reason": trial.user_attrs.get(REASON),
        "trials": list(trial.user_attrs.get(TRIALS, ())),
    }


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())
