"""The prompts behind a sweep's answers, from its task: text, columns such as the schema.

Samples carry prompt ids only. The task builds the prompts again from its settings; should it
build others than the sweep saw, none are shown rather than the wrong ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from strictune.config import load_trial
from strictune.errors import StorageError, StrictuneError
from strictune.records import read_lock
from trainables.tasks import load_task
from trainables.tasks.task import Prompt

__all__ = ["SweepPrompts", "read_prompts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPrompts:
    """What the report shows of prompts, and of the task they come from."""

    by_id: Mapping[str, Prompt] = field(default_factory=dict)
    difficulties: Sequence[str] = ()
    """Easiest first; empty if the task is not known."""
    has_gold: bool = False
    """The task knows right answers to train on."""
    has_grammar: bool = False
    """The task can hold answers to a grammar."""
    problem: str | None = None
    """Why there are no prompts, where there are none."""


def read_prompts(folder: Path | None) -> SweepPrompts:
    """Build the prompts of a finished trial's final split; all runs of a sweep share them."""
    if folder is None:
        return SweepPrompts(problem="no trial has finished yet.")
    try:
        spec = load_trial(folder / "trial.yaml")
        task = load_task(spec.task)
        shared = SweepPrompts(
            difficulties=task.difficulties,
            has_gold=task.has_gold,
            has_grammar=task.has_grammar,
        )
        found = {prompt.id: prompt for prompt in task.prompts(spec.evaluation.final_split)}
        is_the_same = task.data_hash() == _recorded_hash(folder)
    except (StrictuneError, OSError) as error:
        return SweepPrompts(problem=str(error))
    if not is_the_same:
        problem = f"the task {task.kind} builds other prompts now than when the sweep ran."
        return replace(shared, problem=problem)
    return replace(shared, by_id=found)


def _recorded_hash(folder: Path) -> str | None:
    try:
        lock = read_lock(folder)
    except StorageError:
        return None
    return None if lock is None else lock.data_hash
