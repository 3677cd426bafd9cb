"""Audits reward weights: on recorded completions, and on crafted wrong answers.

Sensitivity of a component, standardized and within groups: by how many standard deviations the
reward moves when the component moves by one, both taken within groups, because advantages know
nothing else:

    sensitivity = w sqrt(sum_g SS_g(r) / sum_g SS_g(s)),   s = sum_k w_k r_k

with SS_g the sum of squares around the group's mean, and r normalized within its group first
where the aggregation is normalize_then_sum. Saturation needs no weights: from its step on, the
component is the same for all completions of nearly every group and so teaches nothing.

A crafted answer tries to be paid without being right. Each stands in one group with the right
answer to the same prompt, as two completions would in training. By the two theorems of
strict_json's rewards no wrong one comes out above, or level, while the deciding components have
weight; a task of one's own may know no such theorem.

Shapes: C = components, N = completions of a group (or answers to a prompt), G = groups (or
prompts), B = steps.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.families import Floats
from analysis.replay.matrices import Aggregation, Cell, RewardMatrix, read_matrix
from analysis.replay.measures import (
    component_steps,
    mean_over_steps,
    normalized,
    score_completions,
    step_sums,
)
from strictune.config import TrialSpec
from strictune.errors import StrictuneError
from strictune.records import TRIALS
from trainables.tasks import load_task
from trainables.tasks.selection import select_prompts
from trainables.tasks.task import GOLD, Attempt, Prompt, Task

__all__ = [
    "AnswerAudit",
    "ComponentAudit",
    "Scheme",
    "Weighting",
    "audit_components",
    "audit_crafted_answers",
    "read_cell",
    "weightings_of",
]

SATURATED_FRAC = 0.95
"""Share of groups in which a saturated component is constant."""
WINDOW_FRAC = 0.1
MIN_WINDOW = 3
"""Steps over which that share is averaged: this part of all, and at least so many."""


class Scheme(NamedTuple):
    """How weighted components are turned into advantages."""

    aggregation: Aggregation
    """``multi_objective_aggregation``."""
    scale_rewards: Literal["group", "batch", "none"]


class Weighting(NamedTuple):
    """Weights and how components are put together; of saw the weights as given."""

    name: str
    """``default``, or the winner's, e.g. ``p007``; with the stage where stages differ."""
    weights: Mapping[str, float]
    scheme: Scheme


class Sensitivity(NamedTuple):
    """A component's pull on the reward."""

    value: float
    """Standard deviations of the reward for one of the component, within groups."""
    standard_error: float
    """Over steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentAudit:
    """One component."""

    component: str
    sensitivity: dict[str, Sensitivity]
    """By the names of the weightings."""
    saturation_step: int | None
    """From this step on nearly every group is constant in it; None: it still tells them apart."""
    constant_groups_frac: float
    """Over the last window of steps."""
    at_max_frac: float
    """Share of completions at its maximum, over the last window of steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAudit:
    """One crafted answer under one weighting, over prompts."""

    answer: str
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


def weightings_of(name: str, spec: TrialSpec) -> list[Weighting]:
    """Return the weights of a trial, for each stage where stages differ."""
    grpo = spec.grpo
    scheme = Scheme(grpo.multi_objective_aggregation, grpo.scale_rewards)
    tables = {stage.name: spec.stage_weights(stage) for stage in spec.reward_stages}
    if all(weights == next(iter(tables.values())) for weights in tables.values()):
        return [Weighting(name, next(iter(tables.values())), scheme)]
    return [Weighting(f"{name} in {stage}", weights, scheme) for stage, weights in tables.items()]


def read_cell(sweep_dir: Path, cell: TrialSpec, trial_ids: Sequence[str]) -> Cell | None:
    """Read the reward matrices of some trials; those without one are left out, None for none."""
    matrices = []
    for trial_id in trial_ids:
        with suppress(StrictuneError):
            folder = sweep_dir / TRIALS / trial_id
            matrices.append(read_matrix(folder, cell, criterion=cell.task.primary_criterion))
    return Cell(name=cell.cell, spec=cell, matrices=tuple(matrices)) if matrices else None


def audit_components(cell: Cell, weightings: Sequence[Weighting]) -> tuple[ComponentAudit, ...]:
    """Measure every component that can be earned in the cell."""
    steps = component_steps(cell)
    found = {one.name: _sensitivities(cell, one) for one in weightings}
    audits = []
    for index, component in enumerate(cell.components):
        if not cell.is_active[index]:
            continue
        rows = [row for row in steps if row["component"] == component]
        window = _window(len(rows))
        audits.append(
            ComponentAudit(
                component=component,
                sensitivity={name: values[index] for name, values in found.items()},
                saturation_step=_saturation_step(rows),
                constant_groups_frac=_mean(rows[-window:], "constant_groups_frac"),
                at_max_frac=_mean(rows[-window:], "at_max_frac"),
            )
        )
    return tuple(audits)


def audit_crafted_answers(
    spec: TrialSpec, weightings: Sequence[Weighting]
) -> tuple[AnswerAudit, ...]:
    """Score the task's crafted answers on the prompts that the search was measured on.

    Empty for a task that has none, or that knows no right answers.
    """
    task = load_task(spec.task)
    evaluation = spec.evaluation
    prompts = select_prompts(
        task.prompts(evaluation.split), per_difficulty=evaluation.num_prompts_per_difficulty
    )
    crafted = [(prompt, task.crafted_answers(prompt, thinking=spec.thinking)) for prompt in prompts]
    answers = [(prompt, given) for prompt, given in crafted if given]
    if not answers:
        return ()
    names = list(answers[0][1])
    rewards, is_right = _score(task, answers, names, thinking=spec.thinking)
    if not is_right.size:
        return ()
    return tuple(
        audit
        for weighting in weightings
        for audit in _audit_answers(names, rewards, is_right, weighting, task.components)
    )


def _sensitivities(cell: Cell, weighting: Weighting) -> list[Sensitivity]:
    weights = _vector(weighting, cell.components)
    parts = [_squares(matrix, weights, weighting.scheme) for matrix in cell.matrices]
    per_component = np.concatenate([part[0] for part in parts], axis=-1)  # (C, B)
    total = np.concatenate([part[1] for part in parts], axis=-1)  # (B,)
    ratio = mean_over_steps(per_component, np.broadcast_to(total, per_component.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = weights * np.sqrt(ratio.value)
        # The error of a square root, to first order.
        errors = weights * ratio.standard_error / (2 * np.sqrt(ratio.value))
    return [Sensitivity(float(v), float(e)) for v, e in zip(values, errors, strict=True)]


def _squares(matrix: RewardMatrix, weights: Floats, scheme: Scheme) -> tuple[Floats, Floats]:
    """Sum squares around group means over each step: of components (C, B), of the reward (B,)."""
    if scheme.aggregation == "normalize_then_sum":
        centred = normalized(matrix.rewards)  # (C, N, G)
    else:
        rewards = np.nan_to_num(matrix.rewards)
        centred = rewards - rewards.mean(axis=1, keepdims=True)
    reward = np.tensordot(weights, centred, axes=1)  # (N, G)
    return (
        step_sums(np.square(centred).sum(axis=1), matrix.starts),
        step_sums(np.square(reward).sum(axis=0), matrix.starts),
    )


def _saturation_step(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first step of the windows that are all saturated, to the end of training."""
    window = _window(len(rows))
    found = None
    for start in range(len(rows) - window, -1, -1):
        if _mean(rows[start : start + window], "constant_groups_frac") < SATURATED_FRAC:
            break
        found = int(rows[start]["step"])
    return found


def _window(num_steps: int) -> int:
    return min(num_steps, max(MIN_WINDOW, round(WINDOW_FRAC * num_steps)))


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    return float(np.mean([row[column] for row in rows]))


def _vector(weighting: Weighting, components: Sequence[str]) -> Floats:
    return np.array([weighting.weights.get(name, 0.0) for name in components])


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
    is_right = [[s.criteria[task.primary_criterion] for s in group] for group in whole]
    by_group = np.array(rewards, dtype=np.float64).reshape(len(rewards), len(whole), len(names))
    return by_group.transpose(0, 2, 1), np.array(is_right, dtype=np.bool_).T


def _audit_answers(
    names: Sequence[str],
    rewards: Floats,
    is_right: NDArray[np.bool_],
    weighting: Weighting,
    components: Sequence[str],
) -> list[AnswerAudit]:
    weights = _vector(weighting, components)  # (C,)
    scores = score_completions(rewards, weights, weighting.scheme.aggregation)
    lead = scores.values - scores.values[names.index(GOLD)]  # (N, G)
    paid = np.tensordot(weights, rewards, axes=1)  # (N, G)
    share = paid / paid[names.index(GOLD)]
    found = []
    for index, name in enumerate(names):
        is_wrong = ~is_right[index]
        if name == GOLD:
            continue
        found.append(
            AnswerAudit(
                answer=name,
                weighting=weighting.name,
                num_prompts=len(is_wrong),
                num_wrong=int(is_wrong.sum()),
                reward=float(share[index][is_wrong].mean()) if is_wrong.any() else np.nan,
                num_tied=int((np.abs(lead[index]) <= scores.tie)[is_wrong].sum()),
                num_above=int((lead[index] > scores.tie)[is_wrong].sum()),
            )
        )
    return found
