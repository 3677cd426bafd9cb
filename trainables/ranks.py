"""The processes that train one trial together.

Whoever starts them sets up ``torch.distributed`` and the device first, as Ray Train does; without
it a process is alone, and everything here does nothing. The first rank locks the trial's folder,
writes, evaluates and hears the wish to stop; the others compute and wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar, cast

from torch import distributed

__all__ = ["Ranks"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of its trial. Each method is called by all of them, in turn."""

    rank: int = 0
    count: int = 1

    @classmethod
    def of_this_process(cls) -> Self:
        """Return where this process stands."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """This process writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all have called it."""
        if self.count > 1:
            distributed.barrier()

    def from_first(self, value: T | None = None) -> T:
        """Return the value that the first one gives; the others give none."""
        values = [value]
        if self.count > 1:
            distributed.broadcast_object_list(values)
        return cast(T, values[0])

    def gather(self, values: Sequence[T]) -> list[T]:
        """Return the values of all, in the order of the ranks."""
        if self.count == 1:
            return list(values)
        parts: list[Sequence[T]] = [()] * self.count
        distributed.all_gather_object(parts, values)
        return [value for part in parts for value in part]
