"""Breaks chosen trials of a test's sweep, in the worker processes that run them.

Python imports this module at its start when the folder is on PYTHONPATH. ``BROKEN_TRIALS`` says
which seed breaks how: ``raise``, ``nan``, or ``hang`` (on the first attempt only). With
``BROKEN_RANK`` it breaks in this rank of several.
"""

import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

BREAK_AFTER_SCORES = 20
TARGET = "trainables.trial"


class BreakingFinder(importlib.abc.MetaPathFinder):
    """Lets the trial's module load as ever, and then changes what it calls."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_break(module: ModuleType) -> None:
            execute(module)
            break_trials(module)

        spec.loader.exec_module = execute_and_break  # type: ignore[method-assign]
        return spec


def break_trials(trial: Any) -> None:
    faults = json.loads(os.environ["BROKEN_TRIALS"])
    load = trial.trial_context

    def broken_context(spec: Any, folder: Any, *rest: Any, **named: Any) -> Any:
        context = load(spec, folder, *rest, **named)
        fault = faults.get(str(spec.seed))
        is_first = len((folder / "attempts.jsonl").read_text().splitlines()) == 1
        is_here = context.ranks.rank == int(os.environ.get("BROKEN_RANK", 0))
        if is_here and fault is not None and (fault != "hang" or is_first):
            break_task(context.task, fault)
        return context

    trial.trial_context = broken_context


def break_task(task: Any, fault: str) -> None:
    score, calls = task.score, 0

    def broken(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        found = score(*args, **kwargs)
        if calls <= BREAK_AFTER_SCORES:
            return found
        if fault == "raise":
            raise RuntimeError("the scorer broke")
        if fault == "hang":
            time.sleep(3600)
        return dataclasses.replace(found, rewards={**found.rewards, "format": float("nan")})

    task.score = broken


if "BROKEN_TRIALS" in os.environ:
    sys.meta_path.insert(0, BreakingFinder())
