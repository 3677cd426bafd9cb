"""Answers that try to be paid without being right, scored under given weights.

Each probe stands in one group with the right answer to the same prompt, as two completions
would in training. By the two theorems of strict_json's rewards no wrong one comes out above, or
level, while the deciding components have weight; a task of one's own may know no such theorem.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.advantages import score_completions
from analysis.study.components import Weighting
from strictune.config import TrialSpec
from trainables.tasks import load_task
from trainables.tasks.selection import select_prompts
from trainables.tasks.task import GOLD, Attempt, Prompt, Task

__all__ = ["ProbeAudit", "audit_probes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAudit:
    """One probe under one weighting, over prompts."""

    probe: str
    weighting: str
    num_prompts: int
    num_wrong: int
    """Prompts to which it is no right answer; all that follows is about these."""
    reward: float
    """Mean weighted sum of its components, as a share of the right answer's; NaN without any."""
    num_tied: int
    """It is paid as much as the right answer."""
    num_above: int
    """It is paid more."""


def audit_probes(spec: TrialSpec, weightings: Sequence[Weighting]) -> tuple[ProbeAudit, ...]:
    """Score the task's probes on the prompts that the search was measured on.

    Empty for a task that has none, or that knows no right answers.
    """
    task = load_task(spec.task)
    evaluation = spec.evaluation
    prompts = select_prompts(
        task.prompts(evaluation.split), per_difficulty=evaluation.num_prompts_per_difficulty
    )
    probed = [(prompt, task.probes(prompt, thinking=spec.thinking)) for prompt in prompts]
    answers = [(prompt, given) for prompt, given in probed if given]
    if not answers:
        return ()
    names = list(answers[0][1])
    rewards, is_right = _score(task, answers, names, thinking=spec.thinking)
    if not is_right.size:
        return ()
    return tuple(
        audit
        for weighting in weightings
        for audit in _audit(names, rewards, is_right, weighting, task.components)
    )


def _score(
    task: Task,
    answers: Sequence[tuple[Prompt, Mapping[str, str]]],
    names: Sequence[str],
    *,
    thinking: bool,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return components (C, N, G) and whether each answer is right (N, G); G prompts.

    A prompt to which one answer could not be scored is left out.
    """
    attempts = [
        Attempt(given[name], prompt, False, False) for prompt, given in answers for name in names
    ]
    scores = task.score_batch(attempts, thinking=thinking, purpose="training").scores
    groups = [scores[first : first + len(names)] for first in range(0, len(scores), len(names))]
    whole = [group for group in groups if not any(score.is_missing for score in group)]
    rewards = [[[s.rewards[c] for s in group] for group in whole] for c in task.components]
    is_right = [[s.rungs[task.primary_rung] for s in group] for group in whole]
    by_group = np.array(rewards, dtype=np.float64).reshape(len(rewards), len(whole), len(names))
    return by_group.transpose(0, 2, 1), np.array(is_right, dtype=np.bool_).T


def _audit(
    names: Sequence[str],
    rewards: Floats,
    is_right: NDArray[np.bool_],
    weighting: Weighting,
    components: Sequence[str],
) -> list[ProbeAudit]:
    weights = np.array([[weighting.weights.get(name, 0.0) for name in components]])  # (1, C)
    scores = score_completions(rewards, weights, weighting.scheme.aggregation)
    lead = scores.values[0] - scores.values[0, names.index(GOLD)]  # (N, G)
    tie = float(scores.tie[0, 0])
    paid = np.tensordot(weights[0], rewards, axes=1)  # (N, G)
    share = paid / paid[names.index(GOLD)]
    found = []
    for index, name in enumerate(names):
        is_wrong = ~is_right[index]
        if name == GOLD:
            continue
        found.append(
            ProbeAudit(
                probe=name,
                weighting=weighting.name,
                num_prompts=len(is_wrong),
                num_wrong=int(is_wrong.sum()),
                reward=float(share[index][is_wrong].mean()) if is_wrong.any() else np.nan,
                num_tied=int((np.abs(lead[index]) <= tie)[is_wrong].sum()),
                num_above=int((lead[index] > tie)[is_wrong].sum()),
            )
        )
    return found
