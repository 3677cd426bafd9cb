"""What a sweep file may change between two runs of one sweep.

New cells and seeds are added, and resources are free. What would put results under different
settings, or from another version of the scorer, into one table is refused, and so are contrasts
that are declared after results were seen: the comparisons of a sweep are fixed when it is planned.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from strictune.config import SweepSpec, TrialSpec
from strictune.config.sweep import MATRIX_KEYS
from strictune.errors import StorageError
from strictune.records import TRIALS, read_lock, read_outcome
from trainables.tasks import load_task

__all__ = ["Change", "check_scorer", "refuse_mixing", "refuse_search_changes", "sweep_changes"]

TRAINED_WITH = ("task", "trial", "evaluation", "matrix.variant")
"""The blocks that say how a cell is trained and measured; all others only say which cells."""
FREE_IN_SEARCH = ("search.num_trials", "search.confirm", "resources", "trial.checkpoint")
"""What a sweep with a search may change once it has points."""


class Change(NamedTuple):
    """One key of the sweep file that has another value now."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key} ({_shown(self.before)} -> {_shown(self.after)})"


def sweep_changes(before: SweepSpec, after: SweepSpec) -> list[Change]:
    """Return what differs, by dotted key, in the order of the file."""
    return _differences(before.model_dump(mode="json"), after.model_dump(mode="json"), prefix="")


def refuse_mixing(
    changes: Sequence[Change],
    *,
    begun: Sequence[TrialSpec],
    planned: Sequence[TrialSpec],
    has_results: bool,
    folder: str,
) -> None:
    """Raise if the changed file would mix results.

    Args:
        changes: From ``sweep_changes``.
        begun: Trials of the folder that have trained, as they were planned.
        planned: Trials of the file as it is now.
        has_results: A trial of the folder has ended.
        folder: Named in the message.

    Raises:
        StorageError: A cell has begun under settings that the file no longer has, or contrasts
            changed after a result was there.
    """
    now = {_point(trial): trial.trial_id for trial in planned}
    moved = [trial for trial in begun if now.get(_point(trial), trial.trial_id) != trial.trial_id]
    if moved:
        causes = [change for change in changes if change.key.startswith(TRAINED_WITH)]
        raise StorageError(
            f"{folder}: {len(moved)} trials have begun under other settings than the sweep file "
            f"has now: {', '.join(map(str, causes))}. Results under different settings do not "
            "belong into one sweep. Put the values back, or start a sweep of another name or "
            "with another --out."
        )
    declared = [change for change in changes if change.key == "contrasts"]
    if declared and has_results:
        raise StorageError(
            f"{folder}: results are there already, and the sweep file changes {declared[0]}. "
            "Contrasts are declared before a sweep starts. Put them back; other comparisons are "
            "made with `strictune compare`."
        )


def refuse_search_changes(changes: Sequence[Change], *, is_same_task: bool, folder: str) -> None:
    """Raise if the changed file of a search would put other points into the same study.

    Args:
        changes: From ``sweep_changes``.
        is_same_task: What changed in the task is where or how hard something is asked.
        folder: Named in the message.

    Raises:
        StorageError: Something else than ``FREE_IN_SEARCH`` differs.
    """
    free = (*FREE_IN_SEARCH, "task") if is_same_task else FREE_IN_SEARCH
    fixed = [
        change
        for change in changes
        if not any(f"{change.key}.".startswith(f"{key}.") for key in free)
    ]
    if fixed:
        raise StorageError(
            f"{folder}: the studies have points already, and the sweep file changes "
            f"{', '.join(map(str, fixed))}. Put them back, or start a sweep of another name with "
            f"search.warm_start: [{folder}]."
        )


def check_scorer(
    sweep: SweepSpec, trials: Sequence[TrialSpec], folder: Path, *, is_retrying: bool
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
        for trial in sorted((folder / TRIALS).glob("*"))
        if _state(trial) == "FINISHED"
        and (lock := read_lock(trial)) is not None
        and lock.scorer_hash != scorer
    ]
    if not others:
        return []
    found = (
        f"{len(others)} finished trials, such as {others[0]}, were scored by another version of "
        f"task {sweep.task.kind}"
    )
    states = {_state(folder / TRIALS / trial.trial_id) for trial in trials}
    if None not in states and (states == {"FINISHED"} or not is_retrying):
        return [f"{found}: their results are shown as that version scored them."]
    raise StorageError(
        f"{folder}: {found}, so new trials could not be compared with them. Bring the old "
        "code back, or give the sweep another name."
    )


def _state(trial: Path) -> str | None:
    outcome = read_outcome(trial)
    return None if outcome is None else outcome.state


def _differences(before: Any, after: Any, *, prefix: str) -> list[Change]:
    if before == after:
        return []
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [Change(prefix, before, after)]
    found = []
    for key in dict.fromkeys([*before, *after]):
        path = f"{prefix}.{key}" if prefix else str(key)
        found += _differences(before.get(key), after.get(key), prefix=path)
    return found


def _point(trial: TrialSpec) -> tuple[object, ...]:
    return tuple(getattr(trial, key) for key in MATRIX_KEYS)


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
