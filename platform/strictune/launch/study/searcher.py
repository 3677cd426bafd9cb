"""Studies behind Ray Tune's Searcher: Tune asks for a trial whenever there is room for one.

One searcher serves the studies of all cells in turn. What it hands out are the trials of the
studies' points; a point is told to its study when the last of its trials has ended.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from strictune.config import TrialSpec
from strictune.launch.folder import write_trial
from strictune.launch.grants import num_at_once, with_share
from strictune.launch.study.cell_study import CellStudy, Point
from strictune.launch.trials import GROWN, Runner, pause_of, record_lost, resources_of
from strictune.packing import next_larger
from strictune.records import Grant, read_outcome
from trainables.pulse import STOP_FILE
from trainables.ray_trainable import Attempt

__all__ = ["StudySearcher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    study: CellStudy
    point: Point
    trial: TrialSpec
    grant: Grant
    why: str | None = None
    """Why it is run again, if it is."""


class StudySearcher(Searcher):  # type: ignore[misc]
    """Hands out the trials of several studies."""

    def __init__(
        self,
        studies: Sequence[CellStudy],
        runner: Runner,
        grants: Mapping[str, Grant],
        *,
        on_change: Callable[[], None],
    ) -> None:
        """Take over what an earlier run of the sweep left open.

        Args:
            studies: One for each cell.
            runner: What all trials share.
            grants: Of each study, by its cell's name.
            on_change: Called when a study has asked for a point or was told of one.
        """
        super().__init__()
        self.left_open: list[str] = []
        """Why trials are left open."""
        self._studies = studies
        self._runner = runner
        self._grants = grants
        self._on_change = on_change
        self._queue: deque[_Run] = deque()
        self._running: dict[str, _Run] = {}
        self._lost: list[tuple[_Run, str]] = []
        for study in studies:
            for point in study.interrupted():
                self._begin(study, point)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial, None while there is none, or FINISHED."""
        while not self._queue and not self.left_open:
            asking = [study for study in self._studies if study.has_room]
            if not asking:
                break
            study = min(asking, key=lambda study: len(study.own_points))
            self._begin(study, study.next_point())
        if not self._queue or self.left_open:
            return None if self._running else str(Searcher.FINISHED)
        run = self._queue.popleft()
        self._running[trial_id] = run
        attempt = Attempt(
            folder=str(self._folder(run)),
            driver=self._runner.driver,
            step_timeout_s=self._runner.step_timeout_s,
            may_grow=self._larger(run) is not None,
            resources=resources_of(run.grant),
            num_workers=run.grant.num_workers,
            why=run.why,
        )
        return {"attempt": attempt}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Decide at an interim evaluation whether the trial goes on; it waits for the answer."""
        run = self._running.get(trial_id)
        if run is None or "interim_step" not in result:
            return
        value = float(result[_interim_key(run.study.objectives[0].metric)])
        reason = run.study.report_interim(run.point, int(result["interim_step"]), value)
        if reason is not None:
            (self._folder(run) / STOP_FILE).write_text(reason, encoding="utf-8")

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study, or run the trial again with more memory."""
        run = self._running.pop(trial_id)
        folder = self._folder(run)
        said = self._error(folder) if error else None
        larger = self._larger(run)
        pause = pause_of(result or {}, said, may_grow=larger is not None)
        if pause is not None and pause.lacks == "memory" and larger is not None:
            self._queue.append(
                _Run(study=run.study, point=run.point, trial=run.trial, grant=larger, why=GROWN)
            )
            return
        if pause is not None:
            self.left_open.append(pause.reason)
            return
        if said is not None and read_outcome(folder) is None:
            self._lost.append((run, said))
            return
        self._settle(run.study, run.point)

    def record_lost(self) -> None:
        """Record the trials whose process died too often, and tell their studies.

        To be called at the end of a search that was not interrupted: what interrupts a sweep may
        end the processes of its trials too, and Tune says so first.
        """
        for run, said in self._lost:
            record_lost(self._folder(run), said)
            self._settle(run.study, run.point)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the studies' storage and the folders are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a sweep resumes from its studies and folders."""
        raise NotImplementedError("a sweep is resumed with `strictune run --resume`")

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing in Tune's own snapshots."""
        return {}

    def _begin(self, study: CellStudy, point: Point) -> None:
        """Queue the trials of a point that have not ended."""
        for trial in point.trials:
            write_trial(self._runner.folder, with_share(trial, num_at_once(self._grants)))
            if self._runner.folder.outcome(trial.trial_id) is None:
                self._queue.append(
                    _Run(study=study, point=point, trial=trial, grant=self._grants[study.name])
                )
        self._settle(study, point)

    def _settle(self, study: CellStudy, point: Point) -> None:
        """Tell the study of a point whose trials have all ended."""
        if all(self._runner.folder.outcome(trial.trial_id) for trial in point.trials):
            study.finish(point)
        self._on_change()

    def _larger(self, run: _Run) -> Grant | None:
        return None if run.why is not None else next_larger(run.grant, self._runner.machines)

    def _folder(self, run: _Run) -> Path:
        return self._runner.folder.trial(run.trial.trial_id)

    def _error(self, folder: Path) -> str:
        """Return what Tune wrote of a lost process."""
        path = self._runner.folder.path / "ray" / "search" / folder.name / "error.txt"
        return path.read_text(encoding="utf-8") if path.exists() else "its process died"


def _interim_key(metric: str) -> str:
    return f"interim/{metric.partition('/')[2]}"
