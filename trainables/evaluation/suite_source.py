"""Loads the prompts of a suite by its name: a split, an outside suite, or a file.

The prompts of a split or a file are the user's own, so that one that is too long is an
error of the evaluation. A suite from outside is what somebody else collected: what does not
fit is dropped and counted. Two tokenizers can drop different prompts; the suite's hash
differs then, and a comparison is refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from strictune.errors import SpecError
from trainables.evaluation.keys import suite_hash
from trainables.evaluation.suite import fitting_prompts
from trainables.models import ModelSource, load_tokenizer
from trainables.tasks import TASKS
from trainables.tasks.task import Prompt, Split, Task

__all__ = ["SUITE_SPLITS", "LoadedSuite", "dropped_text", "load_suite", "suite_name"]

SUITE_SPLITS: tuple[Split, ...] = ("validation", "test")

_UNSAFE = re.compile(r"[^a-z0-9.]+")


class LoadedSuite(NamedTuple):
    """The prompts of an evaluation."""

    prompts: tuple[Prompt, ...]
    name: str
    data: str
    """Hash of the data that the prompts come from."""
    dropped: Mapping[str, int]
    """How many entries of a suite from outside cannot be used, by reason."""


def load_suite(
    suite: str, *, task: Task, model: ModelSource, thinking: bool, max_prompt_tokens: int
) -> LoadedSuite:
    """Load a suite.

    Args:
        suite: ``<task>:<split>``, an outside suite's ``<name>`` or ``<name>:<part>``, or a file.
        task: Whose split it is, or who reads it.
        model: Its tokenizer decides which prompts of an outside suite fit.
        thinking: The prompts will ask for a think block.
        max_prompt_tokens: Longer prompts of an outside suite are dropped.

    Raises:
        SpecError: The suite is unknown or cannot be used, or no prompt of it fits.
    """
    kind, _, part = suite.partition(":")
    if kind in TASKS and part:
        if kind != task.kind or part not in SUITE_SPLITS:
            allowed = ", ".join(f"{task.kind}:{name}" for name in SUITE_SPLITS)
            raise SpecError(f"suite {suite}: expected a file or one of {allowed}.")
        return LoadedSuite(tuple(task.prompts(part)), part, task.data_hash(), {})
    if kind not in task.outside_suites:
        prompts = tuple(task.read_suite(Path(suite).expanduser()))
        return LoadedSuite(prompts, suite_name(suite), suite_hash(prompts), {})
    found = task.outside_suite(kind, part)
    fitting = fitting_prompts(
        load_tokenizer(model),
        task=task,
        prompts=found.prompts,
        thinking=thinking,
        limit=max_prompt_tokens,
    )
    dropped = dict(found.dropped)
    if len(fitting) < len(found.prompts):
        reason = f"prompt of more than {max_prompt_tokens} tokens"
        dropped[reason] = len(found.prompts) - len(fitting)
    if not fitting:
        raise SpecError(
            f"suite {suite}: none of its entries can be used ({dropped_text(dropped)}). Raise "
            "--max-prompt-tokens, or name another suite."
        )
    return LoadedSuite(fitting, suite_name(suite), suite_hash(fitting), dropped)


def suite_name(suite: str) -> str:
    """Return the split, the outside suite with its part, or the file's name up to its first dot."""
    kind, _, split = suite.partition(":")
    if kind in TASKS and split:
        return split
    return _UNSAFE.sub("-", Path(suite).name.split(".")[0].lower()).strip("-.") or "suite"


def dropped_text(dropped: Mapping[str, int]) -> str:
    """Return what was dropped in words, most frequent first."""
    ordered = sorted(dropped.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{number} {reason}" for reason, number in ordered)
