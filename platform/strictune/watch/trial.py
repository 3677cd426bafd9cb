"""The state of one trial, read from its folder repeatedly; of its metrics only what is new."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from strictune.errors import StorageError
from strictune.records import (
    LOCK,
    METRICS,
    Attempt,
    Logged,
    MetricsTail,
    parse_line,
    read_attempts,
    read_outcome,
)

__all__ = ["HeldOut", "TrialFacts", "TrialRow", "TrialWatch"]

WINDOW = 10
"""Logged steps over which speeds are taken."""
EVALUATED = ("eval/", "final/")
"""Metrics of evaluations begin so."""
MEMORY_KEYS = ("gpu/peak_gib", "memory/peak_gib")
"""The device's peak where there is one, else the process's."""


class TrialFacts(NamedTuple):
    """What is known of a trial before it runs."""

    name: str
    cell: str
    stage_ends: Sequence[int]
    """The step at which each stage ends; the last one is the trial's number of steps."""


class HeldOut(NamedTuple):
    """One evaluation on the validation split."""

    step: int
    frac: float
    """Share of completions that reach the task's primary criterion."""
    seconds: float | None
    """How long the evaluation took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial at one moment; None is not known yet."""

    trial_id: str
    name: str
    cell: str
    state: str
    """``waiting``, ``starting``, ``training``, ``evaluating``, ``interrupted`` (begun, but
    no process runs the sweep), or how it ended, in capitals."""
    step: int
    """Steps trained, over all stages."""
    num_steps: int | None
    reward: float | None
    """Mean weighted reward of the last logged step's completions."""
    training_frac: float | None
    """Share of these completions that reach the task's primary criterion."""
    held_out_frac: float | None
    """The same share on the validation split, at the last evaluation."""
    held_out: Sequence[HeldOut]
    """All evaluations on the validation split, oldest first."""
    step_s: float | None
    """Seconds a step, over the last logged steps."""
    scoring_s: float | None
    """What scoring took of the last logged step."""
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

    def __init__(self, folder: Path, *, primary_criterion: str) -> None:
        self._folder = folder
        self._criterion = primary_criterion
        self._tail = MetricsTail(folder / METRICS)
        self._forget()

    def snapshot(self, facts: TrialFacts, *, now: float) -> TrialRow:
        """Read what has changed in the folder, and say how the trial stands.

        Args:
            facts: What its plan or its spec says.
            now: The time, in seconds since the epoch.
        """
        self._read_metrics()
        starts = read_attempts(self._folder)
        ended = self._ended()
        values = self._steps[-1].metrics if self._steps else {}
        speed = _speed(self._steps)
        last, ends = self._last, facts.stage_ends
        signs_of_life = [line.time for line in (last, *starts[-1:]) if line is not None]
        return TrialRow(
            trial_id=self._folder.name,
            name=facts.name,
            cell=facts.cell,
            state=ended.state if ended else self._open_state(starts, ends),
            step=last.step if last else ended.steps if ended else 0,
            num_steps=ends[-1] if ends else None,
            reward=values.get("reward/total/mean"),
            training_frac=values.get(f"train/{self._criterion}/pass_at_1"),
            held_out_frac=self._held_out[-1].frac if self._held_out else None,
            held_out=list(self._held_out),
            step_s=speed.step_s,
            scoring_s=values.get("time/scoring_s"),
            tokens_per_s=speed.tokens_per_s,
            peak_gib=next((values[key] for key in MEMORY_KEYS if key in values), None),
            time_left_s=None if ended else self._time_left_s(speed.step_s, ends, now=now),
            num_retries=len(starts) - 1 if starts else None,
            reason=ended.reason if ended else starts[-1].why if starts else None,
            updated=max(signs_of_life, default=None),
        )

    def _forget(self) -> None:
        self._steps: deque[Logged] = deque(maxlen=WINDOW + 1)
        self._held_out: list[HeldOut] = []
        self._num_evaluations = 0
        """Since the last training step, the one on the final split included."""
        self._last: Logged | None = None

    def _read_metrics(self) -> None:
        was_replaced, new = self._tail.read_new()
        if was_replaced:
            self._forget()
        key = f"eval/{self._criterion}/pass_at_1"
        for logged in filter(None, map(parse_line, new.splitlines())):
            self._last = logged
            if not any(name.startswith(EVALUATED) for name in logged.metrics):
                self._steps.append(logged)
                self._num_evaluations = 0
                continue
            self._num_evaluations += 1
            if key in logged.metrics:
                seconds = logged.metrics.get("time/eval_s")
                self._held_out.append(HeldOut(logged.step, logged.metrics[key], seconds))

    def _ended(self) -> "_End | None":
        try:
            outcome = read_outcome(self._folder)
        except StorageError as error:
            return _End("UNREADABLE", str(error), 0)
        return None if outcome is None else _End(outcome.state, outcome.reason, outcome.steps)

    def _open_state(self, starts: Sequence[Attempt], ends: Sequence[int]) -> str:
        if self._last is None:
            has_begun = starts or (self._folder / LOCK).exists()
            return "starting" if has_begun else "waiting"
        if starts and starts[-1].time > self._last.time:
            return "starting"
        return "evaluating" if self._is_evaluating(self._last.step, ends) else "training"

    def _is_evaluating(self, step: int, ends: Sequence[int]) -> bool:
        """Whether a stage has ended and the next one has not begun.

        After a stage's evaluation the next stage begins; after the last one the final split
        is evaluated.
        """
        return step in ends and (not self._num_evaluations or step == ends[-1])

    def _time_left_s(
        self, step_s: float | None, ends: Sequence[int], *, now: float
    ) -> float | None:
        """Return what the steps and evaluations that are left take at the speed of the last."""
        if step_s is None or self._last is None or not ends:
            return None
        step = self._last.step
        timed = [found.seconds for found in self._held_out if found.seconds is not None]
        is_evaluating = self._is_evaluating(step, ends)
        if is_evaluating and not timed:
            return None
        # One evaluation ends each stage, and one on the final split the trial.
        num_evaluations = sum(end >= step for end in ends) + 1
        if step in ends:
            num_evaluations -= self._num_evaluations
        left_s = (ends[-1] - step) * step_s + (max(0, num_evaluations) * timed[-1] if timed else 0)
        # A step takes moments, an evaluation minutes without a sign.
        return max(0.0, left_s - (now - self._last.time)) if is_evaluating else left_s


class _End(NamedTuple):
    state: str
    reason: str | None
    steps: int


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
        counts = [logged.metrics.get("train/num_tokens", 0) for logged in (before, after)]
        if counts[1] > counts[0]:
            counted_s += num_steps * step_s
            num_tokens += counts[1] - counts[0]
    if not num_timed:
        return _Speed(steps[-1].metrics.get("time/step_s") if steps else None, None)
    return _Speed(timed_s / num_timed, num_tokens / counted_s if counted_s else None)
