"""Runs the calls of a batch in the background and collects results as they end.

Meanwhile the caller can report progress, and a slow call does not delay the others.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from strictune.http_calls import CallError
from trainables.tasks.refiner.judge_client import JudgeClient
from trainables.tasks.refiner.judge_health import BatchHealth
from trainables.tasks.refiner.judge_prompt import ChatQuestion

__all__ = ["EndedCalls", "OpenCalls"]

_Task = asyncio.Task[tuple[float, ...]]


class EndedCalls(NamedTuple):
    """Calls that have ended."""

    scores: dict[bytes, tuple[float, ...]]
    """The scores of answered calls, by key."""
    errors: list[CallError]
    """The errors of the other calls."""


class OpenCalls:
    """Open calls by key; false once all have ended. Its coroutines run in the client's loop."""

    def __init__(self, *, deadline_s: float, is_patient: bool) -> None:
        """Prepare a batch; nothing is sent yet.

        Args:
            deadline_s: Seconds after which open calls are cancelled.
            is_patient: Whether each answer restarts the deadline.
        """
        self._deadline_s = deadline_s
        self._is_patient = is_patient
        self._give_up_at = 0.0
        self._keys: dict[_Task, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    async def start(
        self, client: JudgeClient, calls: Mapping[bytes, ChatQuestion], health: BatchHealth
    ) -> None:
        """Start all calls; the client limits how many are sent at once."""
        for key, call in calls.items():
            self._keys[asyncio.create_task(client.ask(call, health))] = key
        self._give_up_at = time.monotonic() + self._deadline_s

    async def look(self, *, within_s: float) -> EndedCalls:
        """Wait for all calls, at most ``within_s`` seconds and not past the deadline.

        Returns:
            The calls that have ended since the last look.
        """
        timeout_s = min(within_s, self._give_up_at - time.monotonic())
        done, _ = await asyncio.wait(list(self._keys), timeout=max(0.0, timeout_s))
        ended = self._take(done)
        if self._is_patient and ended.scores:
            self._give_up_at = time.monotonic() + self._deadline_s
        if time.monotonic() < self._give_up_at:
            return ended
        late = await self.give_up()
        return EndedCalls(ended.scores | late.scores, ended.errors + late.errors)

    async def give_up(self) -> EndedCalls:
        """Cancel the calls that are still open."""
        for task in self._keys:
            task.cancel()
        await asyncio.gather(*self._keys, return_exceptions=True)
        return self._take(list(self._keys))

    def _take(self, tasks: Iterable[_Task]) -> EndedCalls:
        ended = EndedCalls({}, [])
        for task in tasks:
            key = self._keys.pop(task)
            if task.cancelled():
                late = f"not answered within {self._deadline_s:g} s"
                ended.errors.append(CallError("deadline", late, may_pass=False))
            elif isinstance(error := task.exception(), CallError):
                ended.errors.append(error)
            else:
                ended.scores[key] = task.result()
        return ended
