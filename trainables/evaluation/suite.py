"""Evaluates a model on a suite: all samples generated and scored, one table and a summary."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedTokenizerBase

from strictune.config import SamplingSpec
from strictune.errors import TrialError
from strictune.records import write_json
from trainables.evaluation.scored_samples import score_samples
from trainables.prompting import render_prompt
from trainables.rollouts.constraint import full_grammar
from trainables.rollouts.engines import EvaluationEngine
from trainables.rollouts.transformers_engine import Decoding
from trainables.tasks.task import Prompt, Task

__all__ = ["SuiteResult", "evaluate_suite", "fitting_prompts", "read_result", "write_result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """One evaluation."""

    split: str
    """The split, or the suite's name."""
    samples: pd.DataFrame
    """One row a completion: prompt_id, family, difficulty, constructs, sample, completion,
    ``criterion/<name>``, ``reward/<component>``, ``measure/<name>`` (NaN where it has none),
    details, error_class, error_path, num_tokens, is_truncated,
    is_thinking; under grammars also grammar_problem, empty where the grammar was kept to."""
    criteria: tuple[str, ...]
    seconds: float
    num_missing: int = 0
    """Completions that could not be scored; they have no row."""
    scoring: Mapping[str, float] = field(default_factory=dict)
    """About the scoring itself, e.g. ``judge/failure_frac``."""

    def summary(self) -> dict[str, Any]:
        """Return the rates of ``summary.json``: each prompt counts the same."""
        by_difficulty = {
            str(name): _rates(rows, self.criteria)
            for name, rows in self.samples.groupby("difficulty", sort=False)
        }
        return {
            "split": self.split,
            "num_prompts": int(self.samples["prompt_id"].nunique()),
            "num_completions": len(self.samples),
            "num_missing": self.num_missing,
            "criteria": _rates(self.samples, self.criteria),
            "by_difficulty": by_difficulty,
            "measures": self._measures(),
            "scoring": dict(self.scoring),
            "think_rate": float(self.samples["is_thinking"].mean()),
            "completion_tokens_mean": float(self.samples["num_tokens"].mean()),
            "truncated_frac": float(self.samples["is_truncated"].mean()),
            "error_classes": {
                str(name): int(count)
                for name, count in self.samples["error_class"].value_counts().items()
            },
            "seconds": self.seconds,
            **self._grammar_summary(),
        }

    def _grammar_summary(self) -> dict[str, Any]:
        """Return how many prompts were decoded freely although a grammar was asked for, and why."""
        if "grammar_problem" not in self.samples:
            return {}
        problems = self.samples.groupby("prompt_id")["grammar_problem"].first()
        counts = problems[problems != ""].value_counts()
        return {"grammar_problems": {str(name): int(count) for name, count in counts.items()}}

    def _measures(self) -> dict[str, float]:
        """Return each measure's mean over the prompts that have it."""
        columns = [name for name in self.samples if str(name).startswith("measure/")]
        means = self.samples.groupby("prompt_id")[columns].mean().mean()
        return {
            str(name).removeprefix("measure/"): float(mean)
            for name, mean in means.items()
            if not math.isnan(mean)
        }

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return the summary as metrics, e.g. ``eval/hard/strict/pass_at_1``."""
        summary = self.summary()
        metrics = {
            f"{prefix}/{criterion}/pass_at_1": rate
            for criterion, rate in summary["criteria"].items()
        }
        for difficulty, rates in summary["by_difficulty"].items():
            for criterion, rate in rates.items():
                metrics[f"{prefix}/{difficulty}/{criterion}/pass_at_1"] = rate
        metrics |= {f"{prefix}/{name}/mean": mean for name, mean in summary["measures"].items()}
        metrics |= {f"{prefix}/{name}": value for name, value in self.scoring.items()}
        metrics[f"{prefix}/think_rate"] = summary["think_rate"]
        metrics[f"{prefix}/completion_tokens/mean"] = summary["completion_tokens_mean"]
        metrics[f"{prefix}/truncated_frac"] = summary["truncated_frac"]
        metrics[f"time/{prefix}_s"] = self.seconds
        return metrics


def evaluate_suite(
    engine: EvaluationEngine,
    tokenizer: PreTrainedTokenizerBase,
    *,
    task: Task,
    prompts: Sequence[Prompt],
    split: str,
    thinking: bool,
    sampling: SamplingSpec,
    max_prompt_tokens: int | None = None,
    answer_grammars: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SuiteResult:
    """Generate ``samples_per_prompt`` completions of every prompt and score them.

    Args:
        engine: Generates with the model and its adapter, if it has one.
        tokenizer: The model's.
        task: Renders and scores.
        prompts: What is asked.
        split: Names the result.
        thinking: Ask for a think block.
        sampling: Samples and decoding.
        max_prompt_tokens: Longer prompts are refused; None is the task's limit.
        answer_grammars: What the answer to each prompt is held to; None decodes freely.
        on_progress: Told how many completions of how many there are; again and again while
            scoring them takes its time.

    Raises:
        TrialError: A prompt is longer than the limit with this tokenizer.
    """
    started = time.monotonic()
    rendered = [
        render_prompt(tokenizer, task.messages(prompt, thinking=thinking), thinking=thinking)
        for prompt in prompts
    ]
    texts = [text for text, _ in rendered]
    _check_lengths(tokenizer, prompts, texts, limit=max_prompt_tokens or task.max_prompt_tokens)
    grammars = _grammars(tokenizer, answer_grammars, sampling=sampling, thinking=thinking)
    completions = engine.generate(
        [text for text in texts for _ in range(sampling.samples_per_prompt)],
        Decoding(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_new_tokens=sampling.max_tokens(thinking=thinking),
        ),
        seed=sampling.seed,
        on_progress=on_progress,
        grammars=grammars
        and [text for text in grammars for _ in range(sampling.samples_per_prompt)],
    )
    scored = score_samples(
        task,
        prompts,
        completions,
        thinking=thinking,
        think_prefilled=[opened for _, opened in rendered],
        on_progress=on_progress and partial(on_progress, len(completions), len(completions)),
    )
    samples = scored.samples
    if grammars is not None:
        problems = [engine.grammar_problems.get(text, "") for text in grammars]
        samples["grammar_problem"] = samples["prompt_id"].map(
            dict(zip((prompt.id for prompt in prompts), problems, strict=True))
        )
    return SuiteResult(
        split=split,
        samples=samples,
        criteria=task.criteria,
        seconds=time.monotonic() - started,
        num_missing=scored.num_missing,
        scoring=scored.metrics,
    )


def fitting_prompts(
    tokenizer: PreTrainedTokenizerBase,
    *,
    task: Task,
    prompts: Sequence[Prompt],
    thinking: bool,
    limit: int,
) -> tuple[Prompt, ...]:
    """Return the prompts of at most ``limit`` tokens, as this tokenizer renders them."""
    texts = [
        render_prompt(tokenizer, task.messages(prompt, thinking=thinking), thinking=thinking).text
        for prompt in prompts
    ]
    lengths = _num_tokens(tokenizer, texts)
    return tuple(prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= limit)


def write_result(result: SuiteResult, folder: Path) -> None:
    """Write ``samples.parquet`` and, last, ``summary.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    result.samples.to_parquet(folder / "samples.parquet", index=False)
    write_json(folder / "summary.json", result.summary())


def read_result(folder: Path, *, split: str, criteria: tuple[str, ...]) -> SuiteResult:
    """Read back what ``write_result`` wrote."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return SuiteResult(
        split=split,
        samples=pd.read_parquet(folder / "samples.parquet"),
        criteria=criteria,
        seconds=float(summary["seconds"]),
        num_missing=int(summary.get("num_missing", 0)),
        scoring=summary.get("scoring", {}),
    )


def _grammars(
    tokenizer: PreTrainedTokenizerBase,
    answers: Sequence[str] | None,
    *,
    sampling: SamplingSpec,
    thinking: bool,
) -> list[str] | None:
    if answers is None:
        return None
    limit = sampling.max_think_tokens
    return [
        full_grammar(answer, tokenizer, thinking=thinking, max_think_tokens=limit)
        for answer in answers
    ]


def _rates(samples: pd.DataFrame, criteria: Sequence[str]) -> dict[str, float]:
    by_prompt = samples.groupby("prompt_id")[
        [f"criterion/{criterion}" for criterion in criteria]
    ].mean()
    return {criterion: float(by_prompt[f"criterion/{criterion}"].mean()) for criterion in criteria}


def _check_lengths(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    *,
    limit: int,
) -> None:
    for prompt, length in zip(prompts, _num_tokens(tokenizer, texts), strict=True):
        if length > limit:
            raise TrialError(
                f"prompt {prompt.id!r} has {length} tokens with this tokenizer, more than the "
                f"{limit} that are allowed. Remove it from the suite, or raise the limit "
                "(--max-prompt-tokens of strictune evaluate)."
            )


def _num_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []
