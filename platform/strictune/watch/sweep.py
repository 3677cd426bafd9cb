"""All trials of a sweep and the sweep's own state, at one moment.

The process that runs a sweep writes ``driver.json`` when it starts and removes it when it ends. A
process that was killed leaves it behind, and its process id may have been given to another one.
"""

import json
import shlex
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from strictune.config import load_trial
from strictune.errors import SpecError, StorageError
from strictune.records import TRIALS, Plan, PointState, read_plan, read_studies
from strictune.watch.trial import TrialFacts, TrialRow, TrialWatch

__all__ = ["Driver", "SweepSnapshot", "SweepState", "SweepWatch", "read_driver"]

CLOCK_TOLERANCE_S = 5.0
"""How far the start of a process and what it wrote as its time may lie apart."""

SweepState = Literal["running", "stopped", "ended"]


class Driver(NamedTuple):
    """The content of ``driver.json``."""

    pid: int
    host: str
    started: float
    """In seconds since the epoch."""

    def status(self) -> Literal["alive", "gone", "elsewhere"]:
        """Whether the process runs; unknown for another machine."""
        if self.host != socket.gethostname():
            return "elsewhere"
        try:
            process = psutil.Process(self.pid)
            is_another = process.create_time() > self.started + CLOCK_TOLERANCE_S
            has_ended = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:  # It may be another user's, which cannot be inspected.
            return "alive" if psutil.pid_exists(self.pid) else "gone"
        return "gone" if is_another or has_ended else "alive"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSnapshot:
    """All trials of a sweep at one moment."""

    sweep: str
    folder: Path
    primary_criterion: str
    state: SweepState
    """``ended``: every planned trial has. ``stopped``: some have not, and no process runs them."""
    why: str
    """Why it is in this state, in words."""
    resume: str | None
    """The command that resumes a stopped sweep."""
    trials: Sequence[TrialRow]
    """In the order of the plan, then those that have a folder alone."""

    @property
    def num_by_state(self) -> Mapping[str, int]:
        """Trials by state."""
        return Counter(row.state for row in self.trials)


def read_driver(folder: Path) -> Driver | None:
    """Return the process that runs the sweep in ``folder``, None without a valid file."""
    try:
        content = json.loads((folder / "driver.json").read_bytes())
        return Driver(int(content["pid"]), str(content["host"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class SweepWatch:
    """Reads one sweep's folder again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._watches: dict[str, TrialWatch] = {}
        self._drawn: dict[str, TrialFacts] = {}

    def snapshot(self, *, now: float | None = None) -> SweepSnapshot:
        """Read what has changed.

        Args:
            now: The time, in seconds since the epoch.

        Raises:
            StorageError: ``plan.json`` is missing or cannot be read.
        """
        plan = read_plan(self.folder)
        rows = self._rows(plan, now=time.time() if now is None else now)
        driver = read_driver(self.folder)
        planned = {trial.trial_id for trial in plan.trials}
        has_ended = all(row.has_ended for row in rows if row.trial_id in planned)
        has_ended = has_ended and (plan.search is None or _is_searched(self.folder))
        state, why = _sweep_state(driver, has_ended=has_ended)
        return SweepSnapshot(
            sweep=plan.sweep,
            folder=self.folder,
            primary_criterion=plan.primary_criterion,
            state=state,
            why=why,
            resume=self._resume_command(plan.sweep) if state == "stopped" else None,
            trials=[_corrected(row, state, driver) for row in rows],
        )

    def rows(self) -> list[TrialRow]:
        """Return the trials' own states, for the process that runs the sweep.

        Raises:
            StorageError: ``plan.json`` is missing or cannot be read.
        """
        return self._rows(read_plan(self.folder), now=time.time())

    def _rows(self, plan: Plan, *, now: float) -> list[TrialRow]:
        ends = {
            cell.name: tuple(accumulate(stage.steps for stage in cell.stages))
            for cell in plan.cells
        }
        facts = {
            trial.trial_id: TrialFacts(trial.name, trial.cell, ends.get(trial.cell, ()))
            for trial in plan.trials
        }
        # Not in the plan: the trials of a search, and those that a changed sweep file has dropped.
        for folder in sorted((self.folder / TRIALS).glob("*/")):
            if folder.name not in facts and (drawn := self._drawn_facts(folder)):
                facts[folder.name] = drawn
        return [
            self._watches.setdefault(
                trial_id,
                TrialWatch(
                    self.folder / TRIALS / trial_id, primary_criterion=plan.primary_criterion
                ),
            ).snapshot(known, now=now)
            for trial_id, known in facts.items()
        ]

    def _drawn_facts(self, folder: Path) -> TrialFacts | None:
        """Read a trial's own spec, once; None while there is none."""
        if folder.name not in self._drawn:
            try:
                spec = load_trial(folder / "trial.yaml")
            except SpecError:
                return None
            ends = tuple(accumulate(spec.stage_steps))
            self._drawn[folder.name] = TrialFacts(spec.display_name, spec.cell, ends)
        return self._drawn[folder.name]

    def _resume_command(self, sweep: str) -> str:
        file = self.folder / "sweep.yaml"
        if self.folder.absolute().name != sweep or not file.is_file():
            return "strictune run SWEEP.yaml --resume"
        command = ["strictune", "run", str(file), "--resume", "--out", str(self.folder.parent)]
        return shlex.join(command)


def _is_searched(folder: Path) -> bool:
    """Say whether every study has as many points as it may, and each of them has ended."""
    try:
        studies = read_studies(folder)
    except StorageError:
        return False
    return all(
        sum(p.state is not PointState.OPEN and not p.is_from_before for p in study.points)
        >= study.num_trials
        for study in studies
    )


def _sweep_state(driver: Driver | None, *, has_ended: bool) -> tuple[SweepState, str]:
    who = driver and f"driver process {driver.pid} on {driver.host}"
    status = driver.status() if driver else "gone"
    if status == "alive":
        return "running", f"{who}"
    if has_ended:
        return "ended", "every trial has ended"
    if status == "elsewhere":
        return "running", f"{who}, which cannot be checked from this machine"
    return "stopped", f"{who} is gone" if who else "no driver process"


def _corrected(row: TrialRow, state: SweepState, driver: Driver | None) -> TrialRow:
    """Correct the state of a trial by the state of the sweep.

    A trial that no process runs is interrupted, and one that has not changed since the sweep was
    resumed waits for its turn.
    """
    if row.has_ended or row.state == "waiting":
        return row
    if state != "running":
        return replace(row, state="interrupted", time_left_s=None)
    has_moved = driver is None or row.updated is None or row.updated >= driver.started
    return row if has_moved else replace(row, state="waiting", time_left_s=None)
