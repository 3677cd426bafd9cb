"""Everything that is to be said of the studies of a sweep, gathered from its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.measured import Interval
from analysis.records import read_plan
from analysis.study.components import (
    ComponentAudit,
    Weighting,
    audit_components,
    read_cell,
    weightings_of,
)
from analysis.study.confirmation import Confirmation, confirm, confirming_trials
from analysis.study.dimensions import Dimension, cell_of, dimensions_of, point_spec
from analysis.study.importance import NUM_RESAMPLES, ImportanceTable, importance_of
from analysis.study.points import count_points, pareto_front, ranked_points, rate_of
from analysis.study.probes import ProbeAudit, audit_probes
from analysis.study.records import Point, Study, read_studies
from analysis.sweep import SweepVerdicts, sweep_verdicts
from strictune.config import SweepSpec, load_sweep

__all__ = ["MAX_BEST", "Findings", "RewardAudit", "StudyFindings", "study_findings"]

MAX_BEST = 10
"""Points in the table of the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardAudit:
    """What the winning weights, and the cell's own, pay for."""

    weightings: tuple[Weighting, ...]
    """The cell's own first."""
    num_trials: int
    """Whose recorded completions are behind ``components``."""
    num_completions: int
    components: tuple[ComponentAudit, ...]
    """Empty where no trial has a reward matrix."""
    probes: tuple[ProbeAudit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFindings:
    """What one study has found."""

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
    confirmation: Confirmation
    audit: RewardAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the studies of a sweep have found."""

    sweep: str
    studies: tuple[StudyFindings, ...]


def study_findings(sweep_dir: Path, *, num_resamples: int = NUM_RESAMPLES) -> Findings:
    """Read a sweep with a search, through or not, and say what its studies have found.

    Raises:
        StorageError: ``studies.json`` or ``plan.json`` is missing or cannot be understood.
        SpecError: ``sweep.yaml`` cannot be used.
    """
    studies = read_studies(sweep_dir)
    sweep = load_sweep(sweep_dir / "sweep.yaml")
    verdicts = sweep_verdicts(sweep_dir)
    has_variants = any(trial.variant is not None for trial in read_plan(sweep_dir).trials)
    return Findings(
        sweep=sweep.name,
        studies=tuple(
            _of_study(
                sweep_dir,
                sweep,
                study,
                verdicts,
                has_variants=has_variants,
                num_resamples=num_resamples,
            )
            for study in studies
        ),
    )


def _of_study(
    sweep_dir: Path,
    sweep: SweepSpec,
    study: Study,
    verdicts: SweepVerdicts,
    *,
    has_variants: bool,
    num_resamples: int,
) -> StudyFindings:
    dimensions = dimensions_of(sweep, study)
    best = ranked_points(study)[:MAX_BEST]
    shown = [*best, *([study.default] if study.default is not None else [])]
    intervals = {point.number: rate_of(sweep_dir, point, study.objectives[0]) for point in shown}
    return StudyFindings(
        study=study,
        counts=count_points(study),
        dimensions=dimensions,
        best=tuple(best),
        intervals={number: found for number, found in intervals.items() if found is not None},
        front=tuple(p.number for p in pareto_front(study)) if len(study.objectives) > 1 else (),
        importance=importance_of(study, dimensions, num_resamples=num_resamples),
        confirmation=confirm(sweep_dir, study, verdicts, has_variants=has_variants),
        audit=_audit(sweep_dir, sweep, study),
    )


def _audit(sweep_dir: Path, sweep: SweepSpec, study: Study) -> RewardAudit:
    cell = cell_of(sweep, study)
    weightings = weightings_of("default", cell)
    if study.best is not None and not study.best.is_default:
        weightings += weightings_of(study.best.name, point_spec(sweep, cell, study.best))
    recorded = read_cell(
        sweep_dir, cell, _audited_trials(sweep_dir, study), rung=cell.task.primary_rung
    )
    return RewardAudit(
        weightings=tuple(weightings),
        num_trials=0 if recorded is None else len(recorded.matrices),
        num_completions=sum(m.num_completions for m in recorded.matrices) if recorded else 0,
        components=() if recorded is None else audit_components(recorded, weightings),
        probes=audit_probes(cell, weightings),
    )


def _audited_trials(sweep_dir: Path, study: Study) -> Sequence[str]:
    """Return the trials of the winner and of the cell's own settings, searched and confirming."""
    points = [point for point in (study.best, study.default) if point is not None]
    again = confirming_trials(sweep_dir, study).values()
    ids = [trial_id for point in points for trial_id in point.trials]
    ids += [trial.trial_id for trials in again for trial in trials]
    return list(dict.fromkeys(ids))
