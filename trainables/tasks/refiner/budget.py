"""A budget per minute, spent evenly: who wants more than there is waits its turn."""

import time
from collections.abc import Callable

__all__ = ["Budget"]

BURST_S = 5.0
"""So many seconds' worth may be spent at once."""


class Budget:
    """Hands out amounts at a steady rate.

    Not locked: it belongs to one event loop.
    """

    def __init__(
        self, per_minute: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = None if per_minute is None else per_minute / 60
        self._clock = clock
        self._spent_until = -float("inf")

    def reserve(self, amount: float) -> float:
        """Take an amount and return how many seconds to wait before using it."""
        if self._per_s is None:
            return 0.0
        now = self._clock()
        start = max(self._spent_until, now - BURST_S)
        self._spent_until = start + amount / self._per_s
        return max(0.0, start - now)

    def correct(self, amount: float) -> None:
        """Take more, or give back (below 0), after the fact."""
        if self._per_s is not None:
            self._spent_until += amount / self._per_s
