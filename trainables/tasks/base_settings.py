"""Base class of task settings.

Settings declare the names of a task's criteria, reward components and difficulties; ``Task`` reads
them from here. Sweep files are validated against these classes alone, so a settings module must
not import torch.
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
    """Default weight, used where a sweep file sets none."""
    weight_no_think: float | None = None
    """Default weight without thinking. None means ``weight``; 0 is for components that only
    thinking can earn."""
    is_decisive: bool = False
    """A completion that fails the primary criterion is below the maximum of at least one decisive
    component. While all of these have positive weights, no failing completion earns as much as a
    passing one."""


class BaseSettings(BaseModel):
    """Base class of every task's settings; a subclass declares ``kind: Literal["<folder>"]``."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    kind: str
    """The task's folder in ``trainables/tasks``."""

    budgets: ClassVar[tuple[str, ...]] = ()
    """Dotted keys of limits that all trials of a sweep share, e.g. requests per minute. Trials that
    run at the same time get equal parts of each limit that is set; whole numbers stay whole, and at
    least 1."""
    paths: ClassVar[tuple[str, ...]] = ()
    """Keys whose value may be a file or folder. A relative path is looked up in the sweep file's
    folder first, then in the working directory."""
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
    """Curricula by name, each a list of stages as in a sweep file; ``warm_start`` needs gold
    completions."""

    @property
    def criteria(self) -> tuple[str, ...]:
        """The names of the scoring ladder, lowest first."""
        raise NotImplementedError

    @property
    def primary_criterion(self) -> str:
        """The criterion that verdicts compare and searches optimize; by default the highest."""
        return self.criteria[-1]

    @property
    def draws_golds(self) -> bool:
        """Whether gold completions are sampled from the untrained model under a grammar."""
        return False

    @property
    def reward_table(self) -> Mapping[str, Component]:
        """The reward components by name, in report order."""
        raise NotImplementedError

    @property
    def difficulties(self) -> tuple[str, ...]:
        """The names of the difficulties, easiest first; tables use ``all`` for all prompts."""
        return ("default",)

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the reward components, in report order."""
        return tuple(self.reward_table)

    def default_weights(self, thinking: bool) -> dict[str, float]:
        """Return the default weight of every component, with or without thinking."""
        return {
            name: one.weight if thinking or one.weight_no_think is None else one.weight_no_think
            for name, one in self.reward_table.items()
        }

    def decisive_components(self, thinking: bool) -> frozenset[str]:
        """Return the names of the decisive components whose default weight is not 0."""
        weights = self.default_weights(thinking)
        table = self.reward_table.items()
        return frozenset(name for name, one in table if one.is_decisive and weights[name])

    def identity(self) -> dict[str, Any]:
        """Return what can change a trial's results, as JSON data; trial names are made from it."""
        return self.model_dump(mode="json")

    def measure(self) -> dict[str, Any]:
        """Return what evaluations depend on, by key; it must be equal in all trials of a sweep."""
        return self.identity()

    def scoring(self) -> dict[str, Any]:
        """Return what scores depend on besides the task's code; part of ``Task.scorer_hash``."""
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
        """Return these settings with each budget divided among trials that run at the same time."""
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
