"""The reward weights of a cell, and the checks of them.

The names, the default weights and the decisive components come from the task's settings.
A component is decisive when the primary criterion can be missed with every other component at
its maximum: with its weight at 0, a completion that fails can tie with one that passes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from strictune.config.base import Problem
from strictune.errors import did_you_mean

__all__ = ["RewardDefaults", "active_weights", "tied_components", "weight_problems"]


class RewardDefaults(Protocol):
    """What the settings of a task say about its rewards."""

    @property
    def components(self) -> Sequence[str]:
        """The reward components, in report order."""

    def default_weights(self, thinking: bool) -> Mapping[str, float]:
        """Return the weights of a cell that sets none; 0 for what thinking alone can earn."""

    def decisive_components(self, thinking: bool) -> frozenset[str]:
        """Return the components whose weight must be positive."""


def active_weights(
    task: RewardDefaults,
    *,
    thinking: bool,
    rewards: Mapping[str, float] | None,
    rewards_no_think: Mapping[str, float] | None,
) -> dict[str, float]:
    """Return the weight of every component in one cell, in report order.

    Without thinking, and without weights of its own for that, a cell shares the weight of
    what only thinking can earn out over the other components in proportion, so that the
    weights keep their sum.
    """
    if not thinking and rewards_no_think is not None:
        chosen = rewards_no_think
    elif rewards is None:
        chosen = task.default_weights(thinking)
    else:
        chosen = rewards if thinking else _without_thinking(task, rewards)
    return {component: float(chosen.get(component, 0.0)) for component in task.components}


def tied_components(
    task: RewardDefaults, weights: Mapping[str, float], *, thinking: bool
) -> tuple[str, ...]:
    """Return the decisive components without a positive weight, in report order."""
    decisive = task.decisive_components(thinking)
    return tuple(name for name in task.components if name in decisive and not weights.get(name))


def weight_problems(
    task: RewardDefaults,
    *,
    thinking: bool,
    rewards: Mapping[str, float] | None,
    rewards_no_think: Mapping[str, float] | None,
    allow_ties: bool,
) -> list[Problem]:
    """Say why a cell cannot train with these weights; an empty list when it can."""
    tables = {"rewards": rewards, "rewards_no_think": rewards_no_think}
    problems = [
        problem
        for key, table in tables.items()
        for problem in _unknown_components(table or {}, key=key, components=task.components)
    ]
    if problems:
        return problems
    key = "rewards" if thinking or rewards_no_think is None else "rewards_no_think"
    given = tables[key] or {}
    weights = active_weights(
        task, thinking=thinking, rewards=rewards, rewards_no_think=rewards_no_think
    )
    if math.fsum(weights.values()) == 0:
        arm = "with" if thinking else "without"
        return [Problem(key, f"adds up to 0 in the cells {arm} thinking; raise a weight above 0.")]
    if allow_ties:
        return []
    return [
        Problem(
            f"{key}.{name}",
            f"{'has weight 0' if name in given else 'is left out, which means weight 0'}, so that "
            "a completion that fails the task can earn as much as one that passes. Give it a "
            "weight above 0, or set trial.allow_ties: true for an ablation.",
        )
        for name in tied_components(task, weights, thinking=thinking)
    ]


def _without_thinking(task: RewardDefaults, rewards: Mapping[str, float]) -> dict[str, float]:
    defaults = task.default_weights(False)
    kept = {name: value for name, value in rewards.items() if defaults.get(name)}
    total = math.fsum(kept.values())
    factor = math.fsum(rewards.values()) / total if total else 0.0
    return {name: value * factor for name, value in kept.items()}


def _unknown_components(
    weights: Mapping[str, float], *, key: str, components: Sequence[str]
) -> Iterator[Problem]:
    for name in weights:
        if name not in components:
            known, hint = ", ".join(components), did_you_mean(name, components)
            text = f"is not a reward component, expected one of {known}.{hint}"
            yield Problem(f"{key}.{name}", text)
