"""Scores generated completions into the table of an evaluation.

A completion that could not be scored has no row: a rate is of what was measured. So that
every comparison still meets the same prompts, a prompt without any row ends the evaluation.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from strictune.errors import TrialError
from trainables.rollouts.completion import Completion
from trainables.tasks.task import Attempt, Hooks, Prompt, Score, Task

__all__ = ["ScoredSamples", "score_samples"]


class ScoredSamples(NamedTuple):
    """The scored completions of an evaluation."""

    samples: pd.DataFrame
    """One row a completion, see ``SuiteResult``."""
    num_missing: int
    """Completions that could not be scored."""
    metrics: Mapping[str, float]
    """About the scoring itself."""


def score_samples(
    task: Task,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    *,
    thinking: bool,
    think_prefilled: Sequence[bool],
    on_progress: Callable[[], None] | None = None,
) -> ScoredSamples:
    """Score completions together.

    Args:
        task: Scores.
        prompts: What was asked (P,).
        completions: As many for each prompt, one prompt's after the other's (P x samples,).
        thinking: A think block was asked for.
        think_prefilled: Each prompt opened the think block (P,).
        on_progress: Called now and then while a task takes its time.

    Raises:
        TrialError: None of a prompt's completions could be scored.
    """
    num_samples = len(completions) // len(prompts)
    places = [divmod(index, num_samples) for index in range(len(completions))]
    attempts = [
        Attempt(
            made.text,
            prompts[place],
            made.is_truncated,
            think_prefilled[place],
            plain=made.plain,
            ids=made.ids,
        )
        for made, (place, _) in zip(completions, places, strict=True)
    ]
    scores, metrics = task.score_batch(
        attempts, thinking=thinking, purpose="evaluation", hooks=Hooks(on_progress=on_progress)
    )
    rows = [
        _row(task, prompts[place], completion, score, sample=sample)
        for (place, sample), completion, score in zip(places, completions, scores, strict=True)
        if not score.is_missing
    ]
    _refuse_lost_prompts(prompts, {row["prompt_id"] for row in rows}, num_samples=num_samples)
    return ScoredSamples(pd.DataFrame(rows), len(completions) - len(rows), metrics)


def _row(
    task: Task, prompt: Prompt, completion: Completion, score: Score, *, sample: int
) -> dict[str, Any]:
    return {
        "prompt_id": prompt.id,
        "family": prompt.family,
        "difficulty": prompt.difficulty,
        "constructs": list(prompt.constructs),
        "sample": sample,
        "completion": completion.text,
        **{f"criterion/{name}": holds for name, holds in score.criteria.items()},
        **{f"reward/{name}": score.rewards.get(name, math.nan) for name in task.components},
        **{f"measure/{name}": score.measures.get(name, math.nan) for name in task.measures},
        **({"fields": json.dumps(score.fields)} if score.fields else {}),
        "details": score.details,
        "error_class": score.error_class,
        "error_path": score.error_path,
        "num_tokens": completion.num_tokens,
        "is_truncated": completion.is_truncated,
        "is_thinking": score.is_thinking,
    }


def _refuse_lost_prompts(prompts: Sequence[Prompt], scored: set[str], *, num_samples: int) -> None:
    lost = [prompt.id for prompt in prompts if prompt.id not in scored]
    if lost:
        raise TrialError(
            f"none of the {num_samples} completions of {len(lost)} of {len(prompts)} prompts could "
            f"be scored, e.g. of {lost[0]!r}; comparisons need all prompts. Look at what the task "
            "scores with, and run again."
        )
