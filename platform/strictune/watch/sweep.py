"""All trials of a sweep and the sweep's own state, at one moment."""

import json
import math
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

from strictune.config import load_trial
from strictune.errors import SpecError, StorageError
from strictune.watch.driver import Driver, read_driver
from strictune.watch.trial import PlannedTrial, TrialRow, TrialWatch

__all__ = ["SweepLook", "SweepState", "SweepWatch"]

SweepState = Literal["running", "not running", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLook:
    """All trials of a sweep at one moment."""

    sweep: str
    folder: Path
    primary_rung: str
    state: SweepState
    """``ended``: every planned trial has. ``not running``: some have not, and nobody is at it."""
    why: str
    """What tells so."""
    resume: str | None
    """The command that goes on with a sweep that is not running."""
    trials: Sequence[TrialRow]
    """In the order of the plan."""
    has_all_evaluations: bool
    """Whether files that were long already have been searched for evaluations."""

    @property
    def num_by_state(self) -> Mapping[str, int]:
        """Trials by state."""
        return Counter(row.state for row in self.trials)


class SweepWatch:
    """Looks at one sweep's folder again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plan: _Plan | None = None
        self._trials: dict[str, TrialWatch] = {}

    def look(self, *, now: float | None = None, search_s: float = math.inf) -> SweepLook:
        """Read what has changed.

        Args:
            now: The time, in seconds since the epoch.
            search_s: How long to search files that were long already for evaluations; what is
                left is searched at the next looks.

        Raises:
            StorageError: ``plan.json`` is missing or cannot be read.
        """
        plan = self._read_plan()
        rows, has_all_evaluations = self._read_trials(
            now=time.time() if now is None else now, search_s=search_s
        )
        driver = read_driver(self.folder)
        has_ended = all(row.has_ended for row in rows if row.trial_id in plan.trials)
        has_ended = has_ended and (not plan.is_search or _is_searched(self.folder))
        state, why = _sweep_state(driver, has_ended=has_ended)
        return SweepLook(
            sweep=plan.sweep,
            folder=self.folder,
            primary_rung=plan.primary_rung,
            state=state,
            why=why,
            resume=self._resume_command(plan) if state == "not running" else None,
            trials=[_as_seen_from(row, state, driver) for row in rows],
            has_all_evaluations=has_all_evaluations,
        )

    def rows(self) -> list[TrialRow]:
        """Return the trials' own states, whoever runs the sweep: for who runs it.

        Raises:
            StorageError: ``plan.json`` is missing or cannot be read.
        """
        self._read_plan()
        return self._read_trials(now=time.time(), search_s=0.0)[0]

    def _read_trials(self, *, now: float, search_s: float) -> tuple[list[TrialRow], bool]:
        watched = list(self._watched())
        for trial in watched:
            trial.look()
        deadline = time.monotonic() + search_s
        has_all = [trial.metrics.search_backlog(deadline=deadline) for trial in watched]
        return [trial.row(now=now) for trial in watched], all(has_all)

    def _watched(self) -> Iterator[TrialWatch]:
        """Yield the planned trials, then those that only have a folder."""
        assert self._plan is not None
        for trial_id in (*self._plan.trials, *self._unplanned(self._plan)):
            if trial_id not in self._trials:
                path = self.folder / "trials" / trial_id
                planned = self._plan.trials.get(trial_id) or _read_trial(path)
                if planned is None:
                    continue
                self._trials[trial_id] = TrialWatch(
                    path, planned, primary_rung=self._plan.primary_rung
                )
            yield self._trials[trial_id]

    def _unplanned(self, plan: "_Plan") -> list[str]:
        """Return trials that a search drew, or that a changed sweep file no longer has."""
        folder = self.folder / "trials"
        if not folder.is_dir():
            return []
        return sorted({path.name for path in folder.iterdir()} - plan.trials.keys())

    def _read_plan(self) -> "_Plan":
        path = self.folder / "plan.json"
        try:
            changed_ns = path.stat().st_mtime_ns
            if self._plan is None or self._plan.changed_ns != changed_ns:
                self._plan = _parse_plan(json.loads(path.read_bytes()), changed_ns=changed_ns)
                self._trials.clear()
            return self._plan
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path}: cannot be read ({error!r}). Give the folder of a sweep that was started, "
                "e.g. runs/quickstart."
            ) from error

    def _resume_command(self, plan: "_Plan") -> str:
        file = self.folder / "sweep.yaml"
        if self.folder.absolute().name != plan.sweep or not file.is_file():
            return "strictune run SWEEP.yaml --resume"
        command = ["strictune", "run", str(file), "--resume", "--out", str(self.folder.parent)]
        return shlex.join(command)


class _Plan(NamedTuple):
    changed_ns: int
    sweep: str
    primary_rung: str
    is_search: bool
    trials: Mapping[str, PlannedTrial]


def _parse_plan(plan: Mapping[str, Any], *, changed_ns: int) -> _Plan:
    stage_ends = {
        cell["name"]: tuple(accumulate(stage["steps"] for stage in cell["stages"]))
        for cell in plan["cells"]
    }
    return _Plan(
        changed_ns=changed_ns,
        sweep=str(plan["sweep"]),
        primary_rung=str(plan["primary_rung"]),
        is_search=plan.get("search") is not None,
        trials={
            trial["trial_id"]: PlannedTrial(
                trial["trial_id"], trial["name"], trial["cell"], stage_ends[trial["cell"]]
            )
            for trial in plan["trials"]
        },
    )


def _is_searched(folder: Path) -> bool:
    """Say whether every study has as many points as it may, and each of them has ended."""
    try:
        studies = json.loads((folder / "studies.json").read_bytes())["studies"]
        return all(
            sum(
                point["state"] != "open" and not point["is_from_before"]
                for point in study["points"]
            )
            >= study["num_trials"]
            for study in studies
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read_trial(folder: Path) -> PlannedTrial | None:
    """Read a trial's own spec; None where there is none."""
    try:
        spec = load_trial(folder / "trial.yaml")
    except SpecError:
        return None
    ends = tuple(accumulate(spec.stage_steps))
    return PlannedTrial(folder.name, spec.display_name, spec.cell, ends)


def _sweep_state(driver: Driver | None, *, has_ended: bool) -> tuple[SweepState, str]:
    if driver is None:
        return ("ended", "every trial has ended") if has_ended else ("not running", "nobody is")
    who = f"process {driver.pid} on {driver.host}"
    match driver.status():
        case "alive":
            return "running", f"by {who}"
        case "gone":
            return "ended" if has_ended else "not running", f"{who} is gone"
        case "elsewhere":
            if has_ended:
                return "ended", "every trial has ended"
            return "running", f"by {who}, which cannot be asked from here"


def _as_seen_from(row: TrialRow, state: SweepState, driver: Driver | None) -> TrialRow:
    """Correct what a trial's folder says by who runs the sweep.

    A trial that nobody runs is at no work, and one that has not moved since the sweep was
    resumed waits for its turn.
    """
    if row.has_ended or row.state == "waiting":
        return row
    if state != "running":
        return replace(row, state="interrupted", time_left_s=None)
    has_moved = driver is None or row.updated is None or row.updated >= driver.started
    return row if has_moved else replace(row, state="waiting", time_left_s=None)
