"""One trial's folder as one row, read again and again; only what has changed is read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from strictune.watch.metrics import HeldOut, Logged, MetricsFile

__all__ = ["PlannedTrial", "TrialRow", "TrialWatch"]

MEMORY_KEYS = ("gpu/peak_gib", "memory/peak_gib")
"""The device's peak where there is one, else the process's."""

T = TypeVar("T")


class PlannedTrial(NamedTuple):
    """What the plan says of a trial."""

    trial_id: str
    name: str
    cell: str
    stage_ends: Sequence[int]
    """The step at which each stage ends; the last one is the trial's number of steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial at one moment; what it has not told yet is None."""

    trial_id: str
    name: str
    cell: str
    state: str
    """``waiting``, ``starting``, ``training``, ``evaluating``, ``interrupted`` (begun, but
    nobody runs the sweep), or how it ended, in capitals."""
    step: int
    """Steps trained, over all stages."""
    num_steps: int | None
    reward: float | None
    """Mean weighted reward of the last logged step's completions."""
    training_frac: float | None
    """Share of these completions that reach the task's primary rung."""
    held_out_frac: float | None
    """The same share on the validation split, at the last evaluation."""
    held_out: Sequence[HeldOut]
    """All evaluations on the validation split, oldest first."""
    step_s: float | None
    """Seconds a step, over the last logged steps."""
    tokens_per_s: float | None
    """Prompt and completion tokens that a second of training works through, over the last
    logged steps."""
    peak_gib: float | None
    """Peak memory of the trial's process, on its GPU where it has one."""
    time_left_s: float | None
    """Until the trial ends; evaluations count once one has been timed."""
    num_retries: int | None
    """Times that its process was started again; None where no start was recorded."""
    reason: str | None
    """Why it failed or was stopped; for a trial that goes on, why it was started again."""
    updated: float | None
    """Its last sign of life, in seconds since the epoch."""

    @property
    def has_ended(self) -> bool:
        """Whether the trial is over for good."""
        return self.state.isupper()


class TrialWatch:
    """Follows one trial's folder."""

    def __init__(self, folder: Path, planned: PlannedTrial, *, primary_rung: str) -> None:
        self.metrics = MetricsFile(folder / "metrics.jsonl", primary_rung=primary_rung)
        self._training_key = f"train/{primary_rung}/pass_at_1"
        self._folder = folder
        self._planned = planned
        self._outcome = _Cached(folder / "outcome.json", _parse_outcome)
        self._attempts = _Cached(folder / "attempts.jsonl", _parse_attempts)

    def look(self) -> None:
        """Read what has changed in the folder."""
        self.metrics.look()
        self._outcome.look()
        self._attempts.look()

    def row(self, *, now: float) -> TrialRow:
        """Say how the trial stood at the last look.

        Args:
            now: The time, in seconds since the epoch.
        """
        metrics, outcome, attempts = self.metrics, self._outcome.content, self._attempts.content
        values = metrics.steps[-1].metrics if metrics.steps else {}
        speed = _speed(metrics.steps)
        held_out = metrics.held_out
        signs_of_life = (metrics.last_time, attempts.last_time if attempts else None)
        ends = self._planned.stage_ends
        return TrialRow(
            trial_id=self._planned.trial_id,
            name=self._planned.name,
            cell=self._planned.cell,
            state=outcome.state if outcome else self._open_state(),
            step=outcome.num_steps if outcome and not metrics.steps else metrics.last_step,
            num_steps=ends[-1] if ends else None,
            reward=values.get("reward/total/mean"),
            training_frac=values.get(self._training_key),
            held_out_frac=held_out[-1].frac if held_out else None,
            held_out=held_out,
            step_s=speed.step_s,
            tokens_per_s=speed.tokens_per_s,
            peak_gib=next((values[key] for key in MEMORY_KEYS if key in values), None),
            time_left_s=None if outcome else self._time_left_s(speed.step_s, now=now),
            num_retries=attempts.num_starts - 1 if attempts else None,
            reason=outcome.reason if outcome else attempts.why if attempts else None,
            updated=max((at for at in signs_of_life if at is not None), default=None),
        )

    def _open_state(self) -> str:
        attempts, last_time = self._attempts.content, self.metrics.last_time
        if last_time is None:
            has_begun = attempts is not None or (self._folder / "lock.json").exists()
            return "starting" if has_begun else "waiting"
        if attempts is not None and attempts.last_time > last_time:
            return "starting"
        return "evaluating" if self._is_evaluating() else "training"

    def _is_evaluating(self) -> bool:
        """Whether a stage has ended and the next one has not begun.

        After a stage's evaluation the next stage begins; after the last one the final split
        is evaluated.
        """
        step, ends = self.metrics.last_step, self._planned.stage_ends
        return step in ends and (not self.metrics.num_evaluations or step == ends[-1])

    def _time_left_s(self, step_s: float | None, *, now: float) -> float | None:
        """Return what the steps and evaluations that are left take at the speed of the last."""
        step, ends = self.metrics.last_step, self._planned.stage_ends
        if step_s is None or self.metrics.last_time is None or not ends:
            return None
        timed = [found.seconds for found in self.metrics.held_out if found.seconds is not None]
        is_evaluating = self._is_evaluating()
        if is_evaluating and not timed:
            return None
        # One evaluation ends each stage, and one on the final split the trial.
        num_evaluations = sum(end >= step for end in ends) + 1
        if step in ends:
            num_evaluations -= self.metrics.num_evaluations
        left_s = (ends[-1] - step) * step_s + (max(0, num_evaluations) * timed[-1] if timed else 0)
        # A step takes moments, an evaluation minutes without a sign.
        return max(0.0, left_s - (now - self.metrics.last_time)) if is_evaluating else left_s


class _Speed(NamedTuple):
    step_s: float | None
    tokens_per_s: float | None


def _speed(steps: Sequence[Logged]) -> _Speed:
    """Return the speed over the logged steps.

    ``time/step_s`` is the mean over the steps since the line before, so the time between two
    processes of a trial does not count. ``train/num_tokens`` counts up within a stage and
    starts again with the next one, where the difference is left out.
    """
    timed_s = counted_s = 0.0
    num_timed = num_tokens = 0.0
    for before, after in pairwise(steps):
        num_steps = after.step - before.step
        step_s = after.metrics.get("time/step_s")
        if step_s is None or num_steps <= 0:
            continue
        timed_s += num_steps * step_s
        num_timed += num_steps
        tokens = after.metrics.get("train/num_tokens", 0) - before.metrics.get(
            "train/num_tokens", 0
        )
        if tokens > 0:
            counted_s += num_steps * step_s
            num_tokens += tokens
    if not num_timed:
        return _Speed(steps[-1].metrics.get("time/step_s") if steps else None, None)
    return _Speed(timed_s / num_timed, num_tokens / counted_s if counted_s else None)


class _Outcome(NamedTuple):
    state: str
    reason: str | None
    num_steps: int


def _parse_outcome(content: bytes) -> _Outcome:
    try:
        outcome = json.loads(content)
        reason = outcome["reason"]
        return _Outcome(
            str(outcome["state"]), None if reason is None else str(reason), int(outcome["steps"])
        )
    except (ValueError, KeyError, TypeError) as error:
        cure = "Remove it to have --resume go on with the trial."
        return _Outcome("UNREADABLE", f"outcome.json cannot be read ({error!r}). {cure}", 0)


class _Attempts(NamedTuple):
    num_starts: int
    last_time: float
    why: str | None
    """Why the last start was needed; None for the first one."""


def _parse_attempts(content: bytes) -> _Attempts | None:
    starts = []
    for line in content.splitlines():
        try:
            start = json.loads(line)
            starts.append((float(start["time"]), start["why"]))
        except (ValueError, KeyError, TypeError):
            continue  # The last line may be half written.
    return _Attempts(len(starts), *starts[-1]) if starts else None


class _Cached(Generic[T]):
    """A small file that is parsed again only when it has changed."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self.content: T | None = None
        self._path = path
        self._parse = parse
        self._stamp: tuple[int, int, int] | None = None

    def look(self) -> None:
        try:
            stat = self._path.stat()
            stamp = stat.st_mtime_ns, stat.st_size, stat.st_ino
            if stamp != self._stamp:
                self.content = self._parse(self._path.read_bytes())
                self._stamp = stamp
        except FileNotFoundError:
            self.content = self._stamp = None
