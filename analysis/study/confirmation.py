"""The winner of a study, trained again with fresh seeds: what is left of its lead.

The best of many measurements owes part of its value to luck. How much is seen where the same
settings, trained again, are measured on the same prompts: the difference is the selection bias,
and no more than a guess from so few seeds. The verdict is that of the contrast ``variant``, on
the final split, which the search never saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.contrasts import ContrastVerdict
from analysis.records import TRIALS, PlannedTrial, RunState, last_value, read_plan, read_run
from analysis.study.points import NOT_ASKED, count_points
from analysis.study.records import Point, PointState, Study
from analysis.sweep import SweepVerdicts
from strictune.config.naming import SEPARATOR

__all__ = ["Confirmation", "Retrained", "confirm", "confirming_trials"]

DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """One variant at selection, and again; the first objective, on the split of the search."""

    variant: str
    """``p007``, ``default`` or ``first``."""
    selected: float | None
    """What the study knew; None where it has no such point."""
    again: tuple[float, ...]
    """With each fresh seed that finished."""
    num_planned: int

    @property
    def mean(self) -> float | None:
        """Mean over the fresh seeds."""
        return float(np.mean(self.again)) if self.again else None

    @property
    def sd(self) -> float | None:
        """Spread between the fresh seeds; None below two."""
        return float(np.std(self.again, ddof=1)) if len(self.again) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What training again has shown."""

    metric: str
    sign: float
    """What makes more of the metric better: 1, or -1 where it is minimized."""
    variants: tuple[Retrained, ...]
    """The winner first, where it was trained again; empty where nothing was."""
    holds_winner: bool
    """Whether the winner is among them: the best point may have moved since they were planned."""
    contrasts: tuple[ContrastVerdict, ...]
    """The winner against each other variant, on the final split."""
    note: str | None
    """Why there is no verdict, where there is none."""


def confirm(
    sweep_dir: Path, study: Study, verdicts: SweepVerdicts, *, has_variants: bool
) -> Confirmation:
    """Gather what the confirming trials of a study show.

    Args:
        sweep_dir: The sweep's folder.
        study: One of its studies.
        verdicts: Of the sweep.
        has_variants: The plan holds confirming trials, of this study or of others.
    """
    objective, winner = study.objectives[0], study.best
    trials = confirming_trials(sweep_dir, study)
    contrasts = tuple(
        contrast
        for contrast in verdicts.contrasts
        if winner is not None
        and contrast.factor == "variant"
        and contrast.cell == f"{study.cell}{SEPARATOR}{winner.name}"
    )
    names = sorted(trials, key=lambda name: winner is None or name != winner.name)
    return Confirmation(
        metric=objective.metric,
        sign=objective.sign,
        variants=tuple(_retrained(sweep_dir, study, name, trials[name]) for name in names),
        holds_winner=winner is not None and winner.name in trials,
        contrasts=contrasts,
        note=None if contrasts else _note(study, winner, has_variants=has_variants),
    )


def confirming_trials(sweep_dir: Path, study: Study) -> dict[str, list[PlannedTrial]]:
    """Return the trials of a study that are planned to confirm its winner, by variant."""
    found: dict[str, list[PlannedTrial]] = {}
    for trial in read_plan(sweep_dir).trials:
        if trial.variant is not None and trial.cell == f"{study.cell}{SEPARATOR}{trial.variant}":
            found.setdefault(trial.variant, []).append(trial)
    return found


def _note(study: Study, winner: Point | None, *, has_variants: bool) -> str:
    counts = count_points(study)
    if counts[PointState.OPEN.value] or counts[NOT_ASKED]:
        return "the study is not through yet."
    if winner is None:
        return "no point of the study finished, or none is feasible."
    if winner.is_default:
        return "the best point has the cell's own settings, so there is nothing to confirm."
    if not has_variants:
        return (
            "the winner was not trained again, so nothing is said of it: the best of many is "
            "biased upward. Give the sweep search.confirm, and resume it."
        )
    return "the confirming trials do not hold this winner. Resume the sweep."


def _retrained(
    sweep_dir: Path, study: Study, variant: str, trials: Sequence[PlannedTrial]
) -> Retrained:
    metric = study.objectives[0].metric
    folders = [sweep_dir / TRIALS / trial.trial_id for trial in trials]
    ended = [folder for folder in folders if read_run(folder).state is RunState.FINISHED]
    values = [last_value(folder, metric) for folder in ended]
    return Retrained(
        variant=variant,
        selected=_selected(study, variant),
        again=tuple(value for value in values if value is not None),
        num_planned=len(trials),
    )


def _selected(study: Study, variant: str) -> float | None:
    """Return what the study measured for a variant."""
    if variant == DEFAULT:
        return None if study.default is None else study.default.value
    own = [point for point in study.points if not point.is_from_before]
    named = own[:1] if variant == "first" else [p for p in study.points if p.name == variant]
    return next((point.value for point in named if point.values is not None), None)
