"""The study of one cell: asks Optuna for points, and tells it what their trials came to.

The study in Optuna's storage knows what was asked; the folders of the trials know what happened.
A point whose driver died is found RUNNING in the study, and its trials go on where they are.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from strictune.addresses import sqlite_address
from strictune.config import (
    ObjectiveSpec,
    SearchSpec,
    Settings,
    SweepSpec,
    TrialSpec,
    resolve_point,
)
from strictune.errors import StorageError, StrictuneError
from strictune.launch.folder import SweepFolder
from strictune.launch.study.interim import dominating_point, interim_folder, interim_table
from strictune.launch.study.points import Finished, Unusable, read_values, worst_difficulty_pp
from strictune.launch.study.samplers import pruner_for, sampler_for
from strictune.launch.study.space import CellSpace, cell_space

__all__ = ["CellStudy", "Point"]

logger = logging.getLogger(__name__)

SETTINGS = "settings"
TRIALS = "trials"
REASON = "reason"
STOP = "stopped_early"
ORIGIN = "from"
"""User attributes of Optuna's trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One choice of settings, trained once with each seed."""

    number: int
    settings: Settings
    trials: Sequence[TrialSpec]


class CellStudy:
    """The Optuna study of one cell."""

    def __init__(
        self,
        sweep: SweepSpec,
        members: Sequence[TrialSpec],
        folder: SweepFolder,
        *,
        storage: optuna.storages.BaseStorage,
    ) -> None:
        """Open the study of a cell, or make it with its first points.

        Args:
            sweep: With a search.
            members: The cell's own trials, one for each seed.
            folder: The sweep's.
            storage: Where the study is kept.
        """
        assert sweep.search is not None
        self.cell = members[0]
        self.search: SearchSpec = sweep.search
        self.objectives = objectives_of(sweep)
        self.space: CellSpace = cell_space(sweep, self.cell)
        self._sweep = sweep
        self._seeds = [trial.seed for trial in members]
        self._folder = folder
        self._interim_steps = self.search.scheduler.interim_steps(sum(self.cell.stage_steps))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study = optuna.create_study(
                study_name=f"{sweep.name}/{self.cell.cell}",
                storage=storage,
                directions=[
                    StudyDirection.MAXIMIZE if objective.mode == "max" else StudyDirection.MINIMIZE
                    for objective in self.objectives
                ],
                pruner=pruner_for(self.search.scheduler),
                load_if_exists=True,
            )

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.cell.cell

    @property
    def own_points(self) -> list[FrozenTrial]:
        """Points that this sweep has asked for, in order; those it began with left out."""
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if ORIGIN not in trial.user_attrs and trial.state is not TrialState.WAITING
        ]

    def enqueue(self, first: Sequence[Settings]) -> None:
        """Queue the first points of a study that has none yet; may be called again.

        Raises:
            SpecError: A point lies outside the space.
        """
        for index, settings in enumerate(first):
            own = self._in_own_table(settings)
            queued = self.study.get_trials(deepcopy=False)
            if any(trial.user_attrs.get("first") == index for trial in queued):
                continue
            self.study.enqueue_trial(
                self.space.params(own), user_attrs={SETTINGS: own, "first": index}
            )

    def interrupted(self) -> list[Point]:
        """Return the points that were asked for and not told, to be gone on with."""
        points = []
        for index, trial in enumerate(self.own_points):
            if trial.state is TrialState.RUNNING:
                self.study.sampler = sampler_for(self.search, number=index)
                points.append(self._point(optuna.trial.Trial(self.study, trial._trial_id)))
        return points

    @property
    def has_room(self) -> bool:
        """Whether points are left to ask for."""
        return len(self.own_points) < self.search.num_trials

    def next_point(self) -> Point:
        """Ask for a point."""
        self.study.sampler = sampler_for(self.search, number=len(self.own_points))
        return self._point(self.study.ask())

    def report_interim(self, point: Point, step: int, value: float) -> str | None:
        """Report a trial's value at an interim evaluation; returns why it is to stop, if it is.

        Values of points with several seeds or objectives stay in their folders: Optuna keeps one
        value a step.
        """
        trial = self._trial(point)
        kind = self.search.scheduler.kind
        is_kept = len(point.trials) == len(self.objectives) == 1
        if (
            is_kept
            and step not in self.study.get_trials(deepcopy=False)[point.number].intermediate_values
        ):
            trial.report(value, step)
        reason = None
        if kind == "dominated":
            reason = self._dominated(point, step)
        elif is_kept and trial.should_prune():
            reason = f"stopped early by {kind}, at {value:.4g}"
        if reason is not None:
            trial.set_user_attr(STOP, reason)
        return reason

    def _dominated(self, point: Point, step: int) -> str | None:
        """Say which point dominates another one at an interim evaluation, if one does."""
        tables = {
            number: interim_table(folders, step)
            for number, folders in self._evaluated_at(step).items()
        }
        other = dominating_point(
            tables.pop(point.number),
            tables,
            self.objectives,
            alpha=self.search.scheduler.alpha / len(self._interim_steps),
        )
        if other is None:
            return None
        if len(self.objectives) == 1:
            return f"stopped early, point {other}, the median at step {step}, beats it"
        return f"stopped early, point {other} beats it in every objective"

    def finish(self, point: Point) -> None:
        """Tell the study what a point came to, once all its trials have ended."""
        folders = [self._folder.trial(trial.trial_id) for trial in point.trials]
        trial = self._trial(point)
        stopped = self.study.get_trials(deepcopy=False)[point.number].user_attrs.get(STOP)
        found: Finished | Unusable = read_values(folders, self.objectives)
        if isinstance(found, Finished) and self.search.constraint is not None:
            found = self._constrain(trial, folders, found)
        if isinstance(found, Finished):
            self.study.tell(point.number, list(found.values))
            return
        reason = stopped or found.reason
        trial.set_user_attr(REASON, reason)
        state = TrialState.PRUNED if stopped else TrialState.FAIL
        logger.info("cell=%s point=%d %s: %s", self.name, point.number, state.name, reason)
        self.study.tell(point.number, state=state)

    def _constrain(
        self, trial: optuna.Trial, folders: Sequence[Path], found: Finished
    ) -> Finished | Unusable:
        try:
            worst = worst_difficulty_pp(folders, criterion=self._sweep.task.primary_criterion)
        except StrictuneError as error:
            return Unusable(f"the constraint cannot be measured: {error}")
        if "no_difficulty_worse" not in trial.constraints:
            trial.set_constraint("no_difficulty_worse", worst)
        return found

    def _evaluated_at(self, step: int) -> dict[int, list[Path]]:
        """Return the folders of the trials that were evaluated at a step, by their point."""
        found = {}
        for trial in self.own_points:
            folders = [self._folder.trial(name) for name in trial.user_attrs.get(TRIALS, ())]
            done = [
                path for path in folders if (interim_folder(path, step) / "summary.json").exists()
            ]
            if done:
                found[trial.number] = done
        return found

    def _trial(self, point: Point) -> optuna.Trial:
        frozen = self.study.get_trials(deepcopy=False)[point.number]
        return optuna.trial.Trial(self.study, frozen._trial_id)

    def _point(self, trial: optuna.Trial) -> Point:
        """Return the point of an asked trial; what it has not drawn yet is drawn."""
        settings = trial.user_attrs.get(SETTINGS)
        drawn = self.space.suggest(trial)
        if settings is None:
            settings = drawn
            trial.set_user_attr(SETTINGS, settings)
        specs = [self.trial_spec(settings, f"p{trial.number:03d}", seed) for seed in self._seeds]
        trial.set_user_attr(TRIALS, [spec.trial_id for spec in specs])
        return Point(number=trial.number, settings=settings, trials=specs)

    def trial_spec(self, settings: Settings, variant: str, seed: int) -> TrialSpec:
        """Return a trial of the search: measured on the validation split and nowhere else."""
        spec = resolve_point(self._sweep, self.cell, settings, variant=variant, seed=seed)
        evaluation = spec.evaluation.model_copy(update={"final_split": spec.evaluation.split})
        return spec.model_copy(
            update={"evaluation": evaluation, "interim_steps": self._interim_steps}
        )

    def _in_own_table(self, settings: Settings) -> Settings:
        """Move weights to the table that this cell reads, without what it cannot earn."""
        table = self.space.table
        if "rewards" not in settings or table == "rewards" or table in settings:
            return dict(settings)
        given: Any = settings["rewards"]
        rest = {key: value for key, value in settings.items() if key != "rewards"}
        earned = self._sweep.task.default_weights(self.cell.thinking)
        return {**rest, table: {name: value for name, value in given.items() if earned.get(name)}}


def objectives_of(sweep: SweepSpec) -> tuple[ObjectiveSpec, ...]:
    """Return what the studies of a sweep optimize."""
    assert sweep.search is not None
    default = ObjectiveSpec(metric=f"eval/{sweep.task.primary_criterion}/pass_at_1", mode="max")
    return sweep.search.objectives or (default,)


def open_storage(sweep: SweepSpec, folder: SweepFolder) -> optuna.storages.BaseStorage:
    """Open the storage of a sweep's studies.

    Raises:
        StorageError: It cannot be opened.
    """
    assert sweep.search is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = sweep.search.storage or sqlite_address(folder.path / "study.db")
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:  # SQLAlchemy's own errors, drivers that are not installed, ...
        raise StorageError(f"search.storage: {url} cannot be opened: {error}") from error
