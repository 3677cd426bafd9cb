"""Base class of task settings: the names that results use, and which keys name a trial.

Configuration knows a task by its settings alone, so their module must not import torch. Names
are declared here once; ``Task`` reads them from its settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

__all__ = ["BaseSettings", "Component"]


@dataclass(frozen=True, slots=True)
class Component:
    """One reward component."""

    weight: float
    """Its weight where a sweep file gives none."""
    weight_no_think: float | None = None
    """The same without thinking; None is ``weight``, 0 is for what only thinking can earn."""
    is_decisive: bool = False
    """Whenever a completion fails the primary criterion, one of the decisive components is below
    its maximum. While all of them have weight, no failing completion earns as much as a passing
    one."""


class BaseSettings(BaseModel):
    """The base of every task's settings; a subclass declares ``kind: Literal["<folder>"]``."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    kind: str
    """The task's folder in ``trainables/tasks``."""

    budgets: ClassVar[tuple[str, ...]] = ()
    """Dotted keys of what the trials of a sweep may use together: each gets its share of those
    that are set. Whole numbers stay whole, and at least 1."""
    paths: ClassVar[tuple[str, ...]] = ()
    """Keys that may name a file or folder; relative ones start at the sweep file's folder where it
    is there, else at the working directory."""
    curricula: ClassVar[Mapping[str, Sequence[Mapping[str, object]]]] = MappingProxyType(
        {
            "standard": ({"name": "standard", "steps_frac": 1.0},),
            "adaptive": ({"name": "adaptive", "steps_frac": 1.0, "mix": "adaptive"},),
            "warm_start": (
                {"name": "gold", "steps_frac": 0.25, "method": "sft"},
                {"name": "rewards", "steps_frac": 0.75},
            ),
        }
    )
    """Stages by name, in the words of a sweep file; ``warm_start`` needs gold completions."""

    @property
    def criteria(self) -> tuple[str, ...]:
        """The scoring ladder, lowest first."""
        raise NotImplementedError

    @property
    def primary_criterion(self) -> str:
        """The criterion that verdicts and searches are about."""
        return self.criteria[-1]

    @property
    def draws_golds(self) -> bool:
        """Supervised training learns from the untrained model's own completions under a grammar."""
        return False

    @property
    def reward_table(self) -> Mapping[str, Component]:
        """The reward components by name, in report order."""
        raise NotImplementedError

    @property
    def difficulties(self) -> tuple[str, ...]:
        """Easiest first; none of them is ``all``, which tables say of all prompts."""
        return ("default",)

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the reward components, in report order."""
        return tuple(self.reward_table)

    def default_weights(self, thinking: bool) -> dict[str, float]:
        """Return the weight of every component; 0 without thinking for what only it can earn."""
        return {
            name: one.weight if thinking or one.weight_no_think is None else one.weight_no_think
            for name, one in self.reward_table.items()
        }

    def decisive_components(self, thinking: bool) -> frozenset[str]:
        """Return the components whose weight must be positive."""
        weights = self.default_weights(thinking)
        table = self.reward_table.items()
        return frozenset(name for name, one in table if one.is_decisive and weights[name])

    def identity(self) -> dict[str, Any]:
        """Return what can change a trial's results, as plain data; it names the trial."""
        return self.model_dump(mode="json")

    def measure(self) -> dict[str, Any]:
        """Return what evaluations depend on, by key: equal in all trials of a sweep."""
        return self.identity()

    def scoring(self) -> dict[str, Any]:
        """Return what an evaluation's scores depend on beside the task's own code."""
        return {}

    def limits(self) -> dict[str, float]:
        """Return the budgets that are set, by dotted key."""
        found = {}
        for key in self.budgets:
            value: Any = self
            for part in key.split("."):
                value = getattr(value, part, None)
            if value is not None:
                found[key] = value
        return found

    def shared_by(self, num_trials: int) -> Self:
        """Return the settings of one of so many trials that run at the same time."""
        if num_trials <= 1 or not self.limits():
            return self
        data = self.model_dump(mode="json")
        for key, limit in self.limits().items():
            *parents, last = key.split(".")
            node = data
            for part in parents:
                node = node[part]
            is_whole = isinstance(limit, int)
            node[last] = max(1, limit // num_trials) if is_whole else limit / num_trials
        return self.model_validate(data)
