"""The findings of a search, gathered from the sweep's folder.

The best of many measurements owes part of its value to luck. How much is seen where a winner,
trained again with fresh seeds, is measured on the same prompts: the difference is the selection
bias, a guess from so few seeds. The verdict is of the contrast ``variant``, on the final split,
which the search never saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.measured import Interval
from analysis.records import RunState, last_value, read_run
from analysis.study.earlier import RankAgreement, rank_agreements
from analysis.study.importance import NUM_RESAMPLES, ImportanceTable, importance_of
from analysis.study.points import (
    NOT_ASKED,
    Dimension,
    cell_of,
    count_points,
    dimensions_of,
    pareto_front,
    point_spec,
    ranked_points,
    rate_of,
)
from analysis.study.reward_audit import (
    AnswerAudit,
    ComponentAudit,
    Weighting,
    audit_components,
    audit_crafted_answers,
    read_cell,
    weightings_of,
)
from analysis.sweep import ContrastVerdict, SweepVerdicts, sweep_verdicts
from strictune.config import SweepSpec, load_sweep
from strictune.config.naming import SEPARATOR
from strictune.records import (
    TRIALS,
    PlannedTrial,
    Point,
    PointState,
    Study,
    read_plan,
    read_studies,
)

__all__ = [
    "DEFAULT",
    "MAX_BEST",
    "Confirmation",
    "Findings",
    "Retrained",
    "RewardAudit",
    "StudyFindings",
    "confirm",
    "study_findings",
]

DEFAULT = "default"
"""The variant that is the cell with its own settings."""

MAX_BEST = 10
"""Points in the table of the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """The first objective of one variant, at selection and again, on the split of the search."""

    variant: str
    """``p007``, ``default`` or ``first``."""
    selected: float | None
    """The study's value; None where it has no such point."""
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
    """The results of training again."""

    metric: str
    sign: float
    """1, or -1 where the metric is minimized."""
    variants: tuple[Retrained, ...]
    """The winner first, where it was trained again; empty where nothing was."""
    holds_winner: bool
    """Whether the winner is among them: the best point may have moved since they were planned."""
    contrasts: tuple[ContrastVerdict, ...]
    """The winner against each other variant, on the final split."""
    note: str | None
    """Why there is no verdict, where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardAudit:
    """The reward weights of the winner and of the cell, audited."""

    weightings: tuple[Weighting, ...]
    """The cell's own first."""
    num_trials: int
    """Whose recorded completions are behind ``components``."""
    num_completions: int
    components: tuple[ComponentAudit, ...]
    """Empty where no trial has a reward matrix."""
    crafted_answers: tuple[AnswerAudit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFindings:
    """The findings of one study."""

    study: Study
    counts: dict[str, int]
    dimensions: tuple[Dimension, ...]
    best: tuple[Point, ...]
    """Best first; those that may win."""
    intervals: dict[int, Interval]
    """Of the values of ``best`` and of the default, by number; over prompts."""
    front: tuple[int, ...]
    """Numbers on the Pareto front; empty for one objective."""
    importance: ImportanceTable
    agreements: tuple[RankAgreement, ...]
    """With the studies of other models that it began with."""
    confirmation: Confirmation
    audit: RewardAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The findings of all studies of a sweep."""

    sweep: str
    studies: tuple[StudyFindings, ...]


def study_findings(sweep_dir: Path, *, num_resamples: int = NUM_RESAMPLES) -> Findings:
    """Read what the studies of a sweep have found, finished or not.

    Raises:
        StorageError: ``studies.json`` or ``plan.json`` is missing or cannot be understood.
        SpecError: ``sweep.yaml`` cannot be used.
    """
    studies = read_studies(sweep_dir)
    sweep = load_sweep(sweep_dir / "sweep.yaml")
    verdicts = sweep_verdicts(sweep_dir)
    found = []
    for study in studies:
        dimensions = dimensions_of(sweep, study)
        best = ranked_points(study)[:MAX_BEST]
        shown = [*best, *([study.default] if study.default is not None else [])]
        rates = {point.number: rate_of(sweep_dir, point, study.objectives[0]) for point in shown}
        front = pareto_front(study) if len(study.objectives) > 1 else []
        found.append(
            StudyFindings(
                study=study,
                counts=count_points(study),
                dimensions=dimensions,
                best=tuple(best),
                intervals={number: rate for number, rate in rates.items() if rate is not None},
                front=tuple(point.number for point in front),
                importance=importance_of(study, dimensions, num_resamples=num_resamples),
                agreements=rank_agreements(sweep, study),
                confirmation=confirm(sweep_dir, study, verdicts),
                audit=_audit(sweep_dir, sweep, study),
            )
        )
    return Findings(sweep=sweep.name, studies=tuple(found))


def confirm(sweep_dir: Path, study: Study, verdicts: SweepVerdicts) -> Confirmation:
    """Gather the results of a study's confirming trials; ``verdicts`` are the sweep's."""
    objective, winner = study.objectives[0], study.best
    trials = confirming_trials(sweep_dir, study)
    has_variants = any(trial.variant is not None for trial in read_plan(sweep_dir).trials)
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
    """Return the planned trials that confirm a study's winner, by variant."""
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


def _audit(sweep_dir: Path, sweep: SweepSpec, study: Study) -> RewardAudit:
    cell = cell_of(sweep, study)
    weightings = weightings_of("default", cell)
    if study.best is not None and not study.best.is_default:
        weightings += weightings_of(study.best.name, point_spec(sweep, cell, study.best))
    recorded = read_cell(sweep_dir, cell, _audited_trials(sweep_dir, study))
    return RewardAudit(
        weightings=tuple(weightings),
        num_trials=0 if recorded is None else len(recorded.matrices),
        num_completions=sum(m.num_completions for m in recorded.matrices) if recorded else 0,
        components=() if recorded is None else audit_components(recorded, weightings),
        crafted_answers=audit_crafted_answers(cell, weightings),
    )


def _audited_trials(sweep_dir: Path, study: Study) -> Sequence[str]:
    """Return the trials of the winner and of the cell's own settings, searched and confirming."""
    points = [point for point in (study.best, study.default) if point is not None]
    again = confirming_trials(sweep_dir, study).values()
    ids = [trial_id for point in points for trial_id in point.trials]
    ids += [trial.trial_id for trials in again for trial in trials]
    return list(dict.fromkeys(ids))
