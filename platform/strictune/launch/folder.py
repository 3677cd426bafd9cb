"""The folder of one sweep: what is written before the first trial starts, and resumed.

The folder is the truth about a sweep. Whether a trial is done, in work or untouched is read
from its own folder, so a sweep resumes without any state of Ray's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strictune.config import SweepSpec, TrialSpec, dump_yaml
from strictune.errors import StorageError
from strictune.plan import plan_document

__all__ = ["SweepFolder", "open_sweep_folder"]


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Paths inside a sweep's folder."""

    path: Path

    @property
    def baselines(self) -> Path:
        """One folder for each baseline, named by its key."""
        return self.path / "baselines"

    @property
    def log(self) -> Path:
        """What went wrong in detail; the terminal shows one line of it."""
        return self.path / "strictune.log"

    def trial(self, trial_id: str) -> Path:
        """Return the folder of one trial."""
        return self.path / "trials" / trial_id

    def outcome(self, trial_id: str) -> Mapping[str, Any] | None:
        """Return how a trial ended, or None while it has not."""
        path = self.trial(trial_id) / "outcome.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def open_sweep_folder(
    path: Path, sweep: SweepSpec, trials: Sequence[TrialSpec], *, is_resuming: bool
) -> SweepFolder:
    """Create a sweep's folder, or open the one that is resumed, and write its plan.

    Trials that ended keep their results; trials that the file has gained are added.

    Raises:
        StorageError: Trials of the folder have begun and the sweep is not being resumed, or it
            holds something that is no sweep.
    """
    folder = SweepFolder(path.resolve())
    _refuse_occupied(folder, sweep, is_resuming=is_resuming)
    folder.path.mkdir(parents=True, exist_ok=True)
    (folder.path / "sweep.yaml").write_text(dump_yaml(sweep), encoding="utf-8")
    plan = json.dumps(plan_document(sweep, trials), indent=2, ensure_ascii=False)
    (folder.path / "plan.json").write_text(plan + "\n", encoding="utf-8")
    for trial in trials:
        trial_folder = folder.trial(trial.trial_id)
        trial_folder.mkdir(parents=True, exist_ok=True)
        (trial_folder / "trial.yaml").write_text(dump_yaml(trial), encoding="utf-8")
    return folder


def _refuse_occupied(folder: SweepFolder, sweep: SweepSpec, *, is_resuming: bool) -> None:
    if not folder.path.exists() or (folder.path.is_dir() and not any(folder.path.iterdir())):
        return
    if not (folder.path / "plan.json").is_file():
        raise StorageError(
            f"{folder.path} exists and holds no sweep. Move it away, or choose another folder "
            "with --out."
        )
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
