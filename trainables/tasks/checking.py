"""Checks of any task before something trains on it: its prompts, and a first score.

What a file's rows must hold is checked by whoever reads them, and so are splits that a user gives:
the same family may be in two of those.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real

from strictune.errors import SpecError, StrictuneError
from trainables.tasks.jsonl import error_line, shown
from trainables.tasks.task import SPLITS, Attempt, OnProgress, Prompt, Purpose, Score, Split, Task

__all__ = ["check_task", "checked_scores"]


def check_task(task: Task, *, modes: Sequence[bool], on_progress: OnProgress | None = None) -> None:
    """Check what the task needs, its prompts, and how it scores the first of them.

    A task that scores in batches may ask a judge or call a server, so it is asked for no score.

    Args:
        task: The task.
        modes: Whether its trials think: with, without, or both.
        on_progress: Told of checked rows.

    Raises:
        SpecError: Something is missing or cannot be used.
    """
    task.check(on_progress)
    with _in_one_line(task, "build_prompts"):
        splits = {split: task.prompts(split) for split in SPLITS}
    for split, prompts in splits.items():
        _check_split(task, split, prompts)
    given = task.settings.model_dump(mode="json")
    if all(given.get(key) is None for key in task.settings.paths):
        _check_leaks(task, splits)
    if _scores_one_by_one(task):
        for thinking in modes:
            _check_scores(task, splits["train"][0], thinking=thinking)


def checked_scores(
    task: Task, attempts: Sequence[Attempt], *, thinking: bool, purpose: Purpose
) -> list[Score]:
    """Score completions; what cannot be counted is refused in one line.

    Raises:
        SpecError: The task raised something, or gave what is no score of it.
        TrialError: The task cannot score them.
    """
    batches = [[one] for one in attempts] if _scores_one_by_one(task) else [attempts]
    scores: list[Score] = []
    for batch in batches:
        first = f"prompt {batch[0].prompt.id}" + (" or one after it" if len(batch) > 1 else "")
        with _in_one_line(task, "score", f" ({first})"):
            found = task.score_batch(batch, thinking=thinking, purpose=purpose).scores
            for attempt, score in zip(batch, found, strict=True):
                problem = _score_problem(task, score)
                if problem:
                    raise SpecError(
                        f"task {task.kind}: score gave {problem} (prompt {attempt.prompt.id}). "
                        "Mend the task."
                    )
        scores += found
    return scores


def _check_split(task: Task, split: Split, prompts: Sequence[Prompt]) -> None:
    where = f"task {task.kind}, {split}"
    if not prompts:
        raise SpecError(f"{where}: has no prompts, expected at least one. Mend build_prompts.")
    [(name, count)] = Counter(prompt.id for prompt in prompts).most_common(1)
    if count > 1:
        raise SpecError(
            f"{where}: {count} prompts have the id {shown(name)}, expected one. Give each prompt "
            "an id of its own."
        )
    for prompt in prompts:
        if prompt.difficulty not in task.difficulties:
            raise SpecError(
                f"{where}: prompt {prompt.id} has the difficulty {shown(prompt.difficulty)}, "
                f"expected one of {', '.join(task.difficulties)}. Add it to the settings' "
                "difficulties, or give the prompt another."
            )


def _check_leaks(task: Task, splits: Mapping[Split, Sequence[Prompt]]) -> None:
    homes: dict[tuple[str, str], tuple[Split, str]] = {}
    for split, prompts in splits.items():
        for prompt in prompts:
            with _in_one_line(task, "messages", f" (prompt {prompt.id})"):
                messages = task.messages(prompt, thinking=False)
            text = "\n".join(message["content"] for message in messages)
            for what, value in (("family", prompt.family), ("text", text)):
                home, other = homes.setdefault((what, value), (split, prompt.id))
                if home != split:
                    raise SpecError(
                        f"task {task.kind}: prompt {prompt.id} of {split} has the {what} of prompt "
                        f"{other} of {home}, expected each {what} in one split. What a model was "
                        "trained on cannot measure it: keep them in one split."
                    )


def _check_scores(task: Task, prompt: Prompt, *, thinking: bool) -> None:
    with _in_one_line(task, "gold_completion", f" (prompt {prompt.id})"):
        gold = task.gold_completion(prompt, thinking=thinking) or prompt.gold
    attempts = [Attempt(text, prompt, False, thinking) for text in (gold, "") if text is not None]
    for score in checked_scores(task, attempts, thinking=thinking, purpose="training"):
        found = {"criteria": score.criteria, "rewards": score.rewards}
        known = {"criteria": task.criteria, "rewards": task.components}
        for what, names in known.items():
            missing = [name for name in names if name not in found[what]]
            if missing and not score.is_missing:
                raise SpecError(
                    f"task {task.kind}: score gave no {what} {', '.join(missing)}, expected "
                    f"all of {', '.join(names)} (prompt {prompt.id}). Give each of them, or set "
                    "is_missing where it could not be measured."
                )


def _score_problem(task: Task, score: object) -> str | None:
    """Say what of a score cannot be counted; None if all can."""
    if not isinstance(score, Score):
        return f"{type(score).__name__}, expected a Score"
    for what, found, known in (
        ("criteria", score.criteria, task.criteria),
        ("rewards", score.rewards, task.components),
    ):
        unknown = [str(name) for name in found if name not in known]
        if unknown:
            return f"the {what} {', '.join(unknown)}, expected {', '.join(known)}"
    for name, value in {**score.measures, **score.rewards}.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            return f"{name} = {value!r}, expected a finite number"
    return None


def _scores_one_by_one(task: Task) -> bool:
    return type(task).score_batch is Task.score_batch


@contextmanager
def _in_one_line(task: Task, method: str, where: str = "") -> Iterator[None]:
    """Say in one line what code of a task raises."""
    try:
        yield
    except StrictuneError:
        raise
    except (Exception, SystemExit) as error:
        raise SpecError(
            f"task {task.kind}: {method} raised {error_line(error)}{where}. Mend the task."
        ) from error
