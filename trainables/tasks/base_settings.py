"""What the settings of every task have in common: what of them names a trial, and what measures it.

Configuration knows a task by its settings alone. They say which of their keys can change a
result, which decide what evaluations measure, and which are budgets of a whole sweep.
"""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

__all__ = ["BaseSettings"]


class BaseSettings(BaseModel):
    """The base of every task's settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    budgets: ClassVar[tuple[str, ...]] = ()
    """Dotted keys of what the trials of a sweep may use together: each gets its share of those
    that are set. Whole numbers stay whole, and at least 1."""

    def identity(self) -> dict[str, Any]:
        """Return what can change a trial's results, as plain data; it names the trial."""
        return self.model_dump(mode="json")

    def measure(self) -> dict[str, Any]:
        """Return what evaluations depend on, by key: equal in all trials of a sweep."""
        return self.identity()

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
