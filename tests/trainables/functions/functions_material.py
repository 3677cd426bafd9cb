"""A user's module and rows, written into a folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from trainables.tasks.functions.settings import FunctionsSettings
from trainables.tasks.functions.task import Functions
from trainables.tasks.task import Attempt, Prompt

MODULE = '''
"""Rewards in TRL's style."""
import asyncio


def length_reward(completions, **kwargs):
    return [len(text) / 10 for text in texts(completions)]


def accuracy_reward(completions, answer, **kwargs):
    return [None if a is None else float(t == str(a)) for t, a in zip(texts(completions), answer)]


async def slow_reward(prompts, completions, completion_ids, log_metric, trainer_state, **kwargs):
    await asyncio.sleep(0)
    log_metric("step_seen", trainer_state.global_step)
    return [len(ids) + 0.1 * len(prompt) for ids, prompt in zip(completion_ids, prompts)]


def is_right(completions, answer, **kwargs):
    return [text == str(a) for text, a in zip(texts(completions), answer)]


def texts(completions):
    return [c if isinstance(c, str) else c[0]["content"] for c in completions]
'''


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sums(number: int = 40) -> list[dict[str, Any]]:
    """Return rows of as many families as there are rows."""
    return [
        {"prompt": f"{chr(97 + n % 26)}{chr(97 + n // 26)} and {n} make?", "answer": n}
        for n in range(number)
    ]


def settings_in(folder: Path, module: str = MODULE, **changes: Any) -> FunctionsSettings:
    """Write the module, and rows unless ``train`` is given, and return settings for them."""
    (folder / "my_rewards.py").write_text(dedent(module), encoding="utf-8")
    if "train" not in changes:
        changes["train"] = str(write_rows(folder / "rows.jsonl", sums()))
    given = {
        "kind": "functions",
        "module": str(folder / "my_rewards.py"),
        "rewards": ["length_reward", "accuracy_reward"],
        "success": "accuracy_reward >= 1.0",
        **changes,
    }
    return FunctionsSettings.model_validate(given)


def task_in(folder: Path, module: str = MODULE, **changes: Any) -> Functions:
    return Functions(settings_in(folder, module, **changes))


def attempt(text: str, prompt: Prompt, *, ids: Sequence[int] = (), think: bool = False) -> Attempt:
    return Attempt(f"{text}<|end|>", prompt, False, think, plain=text, ids=ids)
