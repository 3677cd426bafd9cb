"""Whether what a sweep's folder holds was scored as new trials would be."""

from collections.abc import Sequence

from strictune.config import SweepSpec, TrialSpec
from strictune.errors import StorageError
from strictune.launch.folder import SweepFolder
from strictune.records import read_lock
from trainables.tasks import load_task

__all__ = ["check_scorer"]

FINISHED = "FINISHED"


def check_scorer(
    sweep: SweepSpec, trials: Sequence[TrialSpec], folder: SweepFolder, *, is_retrying: bool
) -> list[str]:
    """Compare the task's scorer with the one behind the results of finished trials.

    To be asked before anything of the folder is changed.

    Args:
        sweep: The sweep.
        trials: What is about to be run, as far as it has no end yet.
        folder: Where the sweep has run, or will.
        is_retrying: Trials that failed or were stopped are run again too.

    Returns:
        What to know about the old results where nothing is added to them.

    Raises:
        StorageError: New results would stand beside others that they cannot be compared with.
        SpecError: The task cannot be loaded.
    """
    scorer = load_task(sweep.task).scorer_hash()
    others = [
        trial.name
        for trial in sorted(folder.path.glob("trials/*"))
        if _state(folder, trial.name) == FINISHED
        and (lock := read_lock(trial)) is not None
        and lock.scorer_hash != scorer
    ]
    if not others:
        return []
    found = (
        f"{len(others)} finished trials, such as {others[0]}, were scored by another version of "
        f"task {sweep.task.kind}"
    )
    states = {_state(folder, trial.trial_id) for trial in trials}
    if None not in states and (states == {FINISHED} or not is_retrying):
        return [f"{found}: their results are shown as that version scored them."]
    raise StorageError(
        f"{folder.path}: {found}, so new trials could not be compared with them. Bring the old "
        "code back, or give the sweep another name."
    )


def _state(folder: SweepFolder, trial_id: str) -> str | None:
    outcome = folder.outcome(trial_id)
    return None if outcome is None else outcome.state
