"""The folder of one sweep: what is written before the first trial starts, and resumed.

Whether a trial is done, running or untouched is read from its own folder, so a sweep resumes
without any state of Ray's.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from strictune.config import SweepSpec, TrialSpec, dump_yaml, expand, load_sweep
from strictune.errors import StorageError
from strictune.launch.changes import Change, refuse_mixing, refuse_search_changes, sweep_changes
from strictune.planning import plan_document
from strictune.records import Outcome, read_outcome, read_plan, write_json, write_text
from strictune.watch import read_driver

__all__ = [
    "OpenedFolder",
    "SweepFolder",
    "open_sweep_folder",
    "refuse_other_content",
    "refuse_temporary_folder",
    "reopen_trials",
    "write_plan",
    "write_trial",
]

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells a job's command about the job."""


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Paths inside a sweep's folder."""

    path: Path
    trials_name: str = "trials"
    """``cells`` for the untrained trials that stand for the cells of a search."""

    @property
    def baselines(self) -> Path:
        """One folder for each baseline, named by its key."""
        return self.path / "baselines"

    @property
    def log(self) -> Path:
        """The log, with tracebacks; the terminal shows one line of an error."""
        return self.path / "strictune.log"

    @property
    def lock(self) -> Path:
        """Locked by the process that runs the sweep; the file is empty."""
        return self.path / ".driver.lock"

    @property
    def driver(self) -> Path:
        """Names the process that runs the sweep, while one does."""
        return self.path / "driver.json"

    @property
    def stop_request(self) -> Path:
        """Its presence asks the driver to stop."""
        return self.path / "stop"

    def in_use_message(self) -> str:
        """Return the message that the folder is in use, and by which process."""
        driver = read_driver(self.path)
        # A new driver locks the folder before it writes its file.
        if driver is None or driver.status() == "gone":
            who = "another process"
        else:
            who = f"process {driver.pid} on {driver.host}"
        return (
            f"{self.path} is being run by {who}. Look at it with `strictune watch {self.path}`, "
            f"or end it with `strictune stop {self.path}`."
        )

    def trial(self, trial_id: str) -> Path:
        """Return the folder of one trial."""
        return self.path / self.trials_name / trial_id

    def outcome(self, trial_id: str) -> Outcome | None:
        """Return how a trial ended, or None while it has not."""
        return read_outcome(self.trial(trial_id))


class OpenedFolder(NamedTuple):
    """A sweep's folder, and how its sweep file differs from the one it was run with before."""

    folder: SweepFolder
    changes: Sequence[Change]


def open_sweep_folder(
    path: Path, sweep: SweepSpec, trials: Sequence[TrialSpec], *, is_resuming: bool
) -> OpenedFolder:
    """Create a sweep's folder, or open the one that is resumed, and write its plan.

    Trials that ended keep their results; trials that the file has gained are added. The caller
    has locked the folder, see ``driver.locked``.

    Raises:
        StorageError: Trials of the folder have begun and the sweep is not being resumed, the
            file would mix results (see ``refuse_mixing``), or the folder holds no sweep.
    """
    folder = SweepFolder(path.resolve())
    refuse_other_content(folder)
    _refuse_begun(folder, sweep, is_resuming=is_resuming)
    changes = _check_changes(folder, sweep, trials)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_text(folder.path / "sweep.yaml", dump_yaml(sweep))
    if sweep.search is None:
        write_plan(folder, sweep, trials)
    elif not (folder.path / "plan.json").exists():
        # Points are drawn while the sweep runs, and what confirms a winner is planned then.
        write_plan(folder, sweep, ())
    return OpenedFolder(folder, changes)


def refuse_other_content(folder: SweepFolder) -> None:
    """Raise if the sweep's folder holds something other than a sweep.

    Raises:
        StorageError: It does; nothing is changed.
    """
    if not folder.path.exists() or (folder.path.is_dir() and not any(folder.path.iterdir())):
        return
    # The lock file comes first, so a start that was cut off before its plan may be repeated.
    if folder.lock.exists() or (folder.path / "plan.json").is_file():
        return
    raise StorageError(
        f"{folder.path} exists and holds no sweep. Move it away, or choose another folder "
        "with --out."
    )


def refuse_temporary_folder(out: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Raise if results would be written into the working directory that Ray deletes after a job.

    Outside a job everything is allowed.

    Raises:
        StorageError: The results would be lost.
    """
    job = json.loads(environment.get(JOB_VARIABLE, "{}"))
    working_dir = (job.get("runtime_env") or {}).get("working_dir") or ""
    is_copy = urlsplit(working_dir).scheme not in ("", "local")
    if is_copy and out.resolve().is_relative_to(Path.cwd()):
        raise StorageError(
            f"--out {out}: this is a Ray job, and {out.resolve()} lies in its working directory, "
            "which Ray deletes. Give an absolute folder that all machines of the cluster share, "
            "e.g. --out /shared/runs."
        )


def write_plan(folder: SweepFolder, sweep: SweepSpec, trials: Sequence[TrialSpec]) -> None:
    """Write ``plan.json``, which fixes the comparisons, and the spec of each of its trials."""
    write_json(folder.path / "plan.json", plan_document(sweep, trials))
    for trial in trials:
        write_trial(folder, trial)


def write_trial(folder: SweepFolder, trial: TrialSpec) -> Path:
    """Write a trial's resolved spec into its folder, and return the folder."""
    path = folder.trial(trial.trial_id)
    path.mkdir(parents=True, exist_ok=True)
    spec, text = path / "trial.yaml", dump_yaml(trial)
    # On a full disk a resume must not write what has not changed.
    if not spec.exists() or spec.read_text(encoding="utf-8") != text:
        write_text(spec, text)
    return path


def reopen_trials(folder: SweepFolder, sweep: SweepSpec, trials: Sequence[TrialSpec]) -> int:
    """Reopen trials that failed or were stopped, at their last checkpoint; return their number.

    Of a search these are the trials that confirm its winners, which the plan lists: the study has
    recorded a failed point already.
    """
    ids = [trial.trial_id for trial in trials]
    if sweep.search is not None:
        ids = [trial.trial_id for trial in read_plan(folder.path).trials]
    num_reopened = 0
    for trial_id in ids:
        outcome = folder.outcome(trial_id)
        if outcome is not None and outcome.state != "FINISHED":
            (folder.trial(trial_id) / "stop").unlink(missing_ok=True)
            (folder.trial(trial_id) / "outcome.json").unlink()
            num_reopened += 1
    return num_reopened


def _check_changes(
    folder: SweepFolder, sweep: SweepSpec, trials: Sequence[TrialSpec]
) -> Sequence[Change]:
    written = folder.path / "sweep.yaml"
    if not written.exists():
        return ()
    before = load_sweep(written)
    changes = sweep_changes(before, sweep)
    if before.search is not None or sweep.search is not None:
        if any(folder.path.glob("trials/*/metrics.jsonl")):
            is_same_task = before.task.identity() == sweep.task.identity()
            refuse_search_changes(changes, is_same_task=is_same_task, folder=str(folder.path))
        return changes
    begun = [
        trial
        for trial in expand(before)
        if (folder.trial(trial.trial_id) / "metrics.jsonl").exists()
    ]
    refuse_mixing(
        changes,
        begun=begun,
        planned=trials,
        has_results=any(folder.outcome(trial.trial_id) for trial in begun),
        folder=str(folder.path),
    )
    return changes


def _refuse_begun(folder: SweepFolder, sweep: SweepSpec, *, is_resuming: bool) -> None:
    begun = [path for path in folder.path.glob("trials/*") if (path / "metrics.jsonl").exists()]
    if is_resuming or not begun:
        return
    outcomes = [folder.outcome(path.name) for path in folder.path.glob("trials/*")]
    ended = sum(outcome is not None for outcome in outcomes)
    raise StorageError(
        f"{folder.path} holds a sweep already ({ended} of {len(outcomes)} trials ended). "
        f"Continue it with --resume, or choose another folder with --out or another name than "
        f"{sweep.name!r}."
    )
