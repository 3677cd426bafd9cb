"""Health of a judge: counters of a batch, and the share of failures among the latest calls."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from strictune.errors import TrialError
from trainables.tasks.refiner.replies import ReplyFault

__all__ = ["BatchHealth", "CallFault", "FailureWatch"]

CallFault = Literal["timeout", "connection", "status", "deadline"] | ReplyFault
"""Why a call failed for good. ``status``: an HTTP error. ``deadline``: the time of the batch was
over. For the others see ``ReplyFault``."""

WINDOW_CALLS = 512
MIN_CALLS = 32
"""With fewer calls a judge never fails the trial."""


@dataclass(slots=True)
class BatchHealth:
    """Counters of one batch."""

    num_calls: int = 0
    """Questions sent over the network."""
    num_cache_hits: int = 0
    num_retries: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Questions that stayed without an answer, by the ``CallFault`` of their last try."""
    example: str = ""
    """The message of the first of those failures."""
    latencies_s: list[float] = field(default_factory=list)
    """Latencies of answered requests, without the time before they were sent."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def metrics(self, *, usd_per_million: tuple[float, float]) -> dict[str, float]:
        """Return the counters as metrics; shares and latencies only if there were calls.

        Args:
            usd_per_million: The prices of a million prompt and completion tokens.
        """
        asked = self.num_calls + self.num_cache_hits
        tokens = (self.prompt_tokens, self.completion_tokens)
        found = {
            "calls": float(self.num_calls),
            "retries": float(self.num_retries),
            "prompt_tokens": float(self.prompt_tokens),
            "completion_tokens": float(self.completion_tokens),
            "cost_usd": sum(n * usd / 1e6 for n, usd in zip(tokens, usd_per_million, strict=True)),
            "batch_s": self.seconds,
        }
        if asked:
            found["cache_hit_frac"] = self.num_cache_hits / asked
        if self.num_calls:
            parse_failures = sum(self.faults[fault] for fault in get_args(ReplyFault))
            found["failure_frac"] = self.faults.total() / self.num_calls
            found["parse_failure_frac"] = parse_failures / self.num_calls
            found["off_scale_frac"] = self.faults["off_scale"] / self.num_calls
            found["timeout_frac"] = (
                self.faults["timeout"] + self.faults["deadline"]
            ) / self.num_calls
        if self.latencies_s:
            p50, p95 = np.percentile(self.latencies_s, [50, 95])
            found |= {"latency_p50_s": float(p50), "latency_p95_s": float(p95)}
        return found


class FailureWatch:
    """Tracks the share of failures among the latest calls, which include the whole batch."""

    def __init__(self, max_failure_frac: float) -> None:
        self._max_frac = max_failure_frac
        self._earlier: list[bool] = []

    def refuse(self, health: BatchHealth, *, num_answered: int, is_over: bool, judge: str) -> None:
        """Raise an error if too many of the latest calls failed.

        Args:
            health: The counters of the batch so far.
            num_answered: The number of its calls that were answered.
            is_over: Whether all its calls have ended. Before that only a full window counts, since
                calls that fail at once end first.
            judge: The judge's name, for the message.

        Raises:
            TrialError: A larger share than allowed failed.
        """
        batch = [True] * health.faults.total() + [False] * num_answered
        latest = (self._earlier + batch)[-max(WINDOW_CALLS, len(batch)) :]
        if is_over:
            self._earlier = latest
        num_calls, num_failed = len(latest), sum(latest)
        is_few = num_calls < (MIN_CALLS if is_over else WINDOW_CALLS)
        if not health.faults or is_few or num_failed <= self._max_frac * num_calls:
            return
        kinds = ", ".join(f"{number} {fault}" for fault, number in sorted(health.faults.items()))
        raise TrialError(
            f"{num_failed} of the latest {num_calls} calls of the judge {judge} failed, more than "
            f"task.judge.max_failure_frac = {self._max_frac:g} allows (in this batch: {kinds}; "
            f"e.g. {health.example}). Rewards from the rest would be biased. {_cure(health.faults)}"
        )


def _cure(faults: Mapping[str, int]) -> str:
    cures = ["Check the judge's server."]
    if "deadline" in faults:
        cures.append(
            "If it works but is slow, raise task.judge.batch_deadline_s (and keep "
            "resources.step_timeout_s above it), or max_concurrent_calls if it can take more."
        )
    if "cut_off" in faults:
        cures.append("If its replies are cut off, raise task.judge.max_tokens.")
    if faults.keys() - {"deadline", "cut_off"}:
        cures.append("If it is overloaded, lower max_concurrent_calls, or raise call_timeout_s.")
    return " ".join(cures)
