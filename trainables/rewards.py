"""Reward functions for TRL: one scoring pass a batch, one thin named function a component.

TRL calls every reward function of a batch with the same list of completions. The first call
scores the batch, the others read from it. Scores are of the raw tokens, not of TRL's text,
which has special tokens removed.

A completion that could not be scored gives None for every component. TRL then leaves it out
of its group's mean and deviation and gives it no advantage. One component alone is None where it
does not apply to a completion: TRL then sums up the others.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from strictune.errors import TrialError
from trainables.ranks import Ranks
from trainables.rollouts.completion import Completion, decode_completion
from trainables.tasks.task import Attempt, Hooks, Prompt, Score, Task

__all__ = ["BatchScorer", "RewardFunction", "RewardSink", "flat_groups", "wrong_above_right"]

PARTS = "parts"
SAME = 1e-9
"""Values that differ by no more are equal."""

RewardFunction = Callable[..., list[float | None]]
"""TRL's signature: keyword lists in, one value a completion out; None is not scored."""


class RewardSink(Protocol):
    """Where scored training completions go."""

    def __call__(
        self,
        step: int,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        scores: Sequence[Score],
    ) -> None:
        """Take one batch; ``step`` is the stage's optimizer step that it trains."""


class BatchScorer:
    """Scores each training batch once and serves it as TRL reward functions."""

    def __init__(
        self,
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        *,
        thinking: bool,
        think_prefilled: bool,
        stop_ids: Collection[int],
        sink: RewardSink,
        ranks: Ranks | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._task = task
        self._tokenizer = tokenizer
        self._thinking = thinking
        self._think_prefilled = think_prefilled
        self._stop_ids = stop_ids
        self._sink = sink
        self._ranks = ranks or Ranks()
        self._weights = weights
        self._batch: object = None
        self._scores: Sequence[Score] = ()

    def reward_functions(self) -> list[RewardFunction]:
        """Return one function for each of the task's components, in their order."""
        return [self._reward_function(name) for name in self._task.components]

    def _reward_function(self, component: str) -> RewardFunction:
        def reward(completions: Sequence[str], **batch: Any) -> list[float | None]:
            scores = self._score_batch(completions, batch)
            return [None if score.is_missing else score.rewards.get(component) for score in scores]

        reward.__name__ = component
        return reward

    def _score_batch(self, completions: Sequence[str], batch: Mapping[str, Any]) -> Sequence[Score]:
        # The list object stays referenced, so its identity cannot be reused by a later batch.
        if completions is self._batch:
            return self._scores
        prompts = _prompts_of(batch)
        texts = [
            decode_completion(self._tokenizer, ids, stop_ids=self._stop_ids)
            for ids in batch["completion_ids"]
        ]
        attempts = [
            Attempt(
                text.text,
                prompt,
                text.is_truncated,
                self._think_prefilled,
                plain=text.plain,
                ids=text.ids,
            )
            for text, prompt in zip(texts, prompts, strict=True)
        ]
        self._scores, metrics = self._task.score_batch(
            attempts,
            thinking=self._thinking,
            purpose="training",
            hooks=Hooks(
                trainer_state=batch["trainer_state"],
                log_extra=batch.get("log_extra"),
                log_metric=batch["log_metric"],
            ),
        )
        _refuse_unmeasured(prompts, self._scores)
        self._batch = completions
        scored = self._ranks.gather(list(zip(prompts, texts, self._scores, strict=True)))
        all_prompts, all_texts, all_scores = zip(*scored, strict=True)
        self._sink(batch["trainer_state"].global_step + 1, all_prompts, all_texts, all_scores)
        flat = flat_groups(self._task, all_prompts, all_scores)
        above = (
            {}
            if self._weights is None
            else wrong_above_right(
                self._task.primary_criterion, all_prompts, all_scores, weights=self._weights
            )
        )
        for name, value in {**metrics, **_rates(self._task, all_scores), **flat, **above}.items():
            batch["log_metric"](name, value)
        return self._scores


def flat_groups(task: Task, prompts: Sequence[Prompt], scores: Sequence[Score]) -> dict[str, float]:
    """Return the share of groups in which each measure is flat, as metrics.

    Parts of the reward are counted together, each in the groups that have it: their names are
    the data's. A group in which fewer than two values are known is in no count.

    Args:
        task: Names the measures.
        prompts: Of a batch, whole groups.
        scores: One for each prompt.
    """
    groups = _groups(prompts, scores)
    is_flat: dict[str, list[bool]] = {name: [] for name in (*task.measures, PARTS)}
    for group in groups.values():
        for name in task.measures:
            is_flat[name] += _is_flat([score.measures.get(name) for score in group])
        for part in dict.fromkeys(part for score in group for part in score.parts):
            is_flat[PARTS] += _is_flat([score.parts.get(part) for score in group])
    return {
        f"{name}/zero_std_groups_frac": sum(known) / len(known)
        for name, known in is_flat.items()
        if known
    }


def wrong_above_right(
    criterion: str,
    prompts: Sequence[Prompt],
    scores: Sequence[Score],
    *,
    weights: Mapping[str, float],
) -> dict[str, float]:
    """Return how often a failing completion earned more than a passing one of its group.

    As a metric: the share of all pairs of a failing and a passing completion of one group. Empty
    for a batch without such a pair.

    Args:
        criterion: What passing is.
        prompts: Of a batch, whole groups.
        scores: One for each prompt.
        weights: Of the reward components.
    """
    num_above = num_pairs = 0
    for group in _groups(prompts, scores).values():
        totals: dict[bool, list[float]] = {True: [], False: []}
        for score in group:
            if criterion in score.criteria and score.rewards:
                earned = (weights[name] * value for name, value in score.rewards.items())
                totals[score.criteria[criterion]].append(math.fsum(earned))
        num_pairs += len(totals[True]) * len(totals[False])
        num_above += sum(
            failing > passing + SAME for failing in totals[False] for passing in totals[True]
        )
    return {"failing_above_passing_frac": num_above / num_pairs} if num_pairs else {}


def _rates(task: Task, scores: Sequence[Score]) -> dict[str, float]:
    """Return the batch's means; what is missing counts in none of them."""
    criteria, measures = [score.criteria for score in scores], [score.measures for score in scores]
    values: dict[str, list[float]] = {
        **{f"{name}/pass_at_1": [r[name] for r in criteria if name in r] for name in task.criteria},
        **{f"{name}/mean": [m[name] for m in measures if name in m] for name in task.measures},
        "think_rate": [score.is_thinking for score in scores],
    }
    return {name: math.fsum(known) / len(known) for name, known in values.items() if known}


def _refuse_unmeasured(prompts: Sequence[Prompt], scores: Sequence[Score]) -> None:
    """Stop at a reward that is no number: a task that could not measure one leaves it out.

    Raises:
        TrialError: A component is NaN or infinite.
    """
    for prompt, score in zip(prompts, scores, strict=True):
        for component, value in score.rewards.items():
            if not math.isfinite(value):
                raise TrialError(
                    f"reward component {component} is {value} for a completion of prompt "
                    f"{prompt.id!r}, expected a finite number. Mend the task's score function."
                )


def _prompts_of(batch: Mapping[str, Any]) -> list[Prompt]:
    """Rebuild the prompts from their data-set columns (see ``training_rows``)."""
    return [
        Prompt(id=id_, text="", family=family, difficulty=difficulty, columns=columns)
        for id_, family, difficulty, columns in zip(
            batch["prompt_id"], batch["family"], batch["difficulty"], batch["columns"], strict=True
        )
    ]


def _groups(prompts: Sequence[Prompt], scores: Sequence[Score]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for prompt, score in zip(prompts, scores, strict=True):
        groups.setdefault(prompt.id, []).append(score)
    return groups


def _is_flat(values: Sequence[float | None]) -> list[bool]:
    """Say whether a group's values are equal; empty where fewer than two are known."""
    known = [value for value in values if value is not None]
    return [max(known) - min(known) <= SAME] if len(known) > 1 else []
