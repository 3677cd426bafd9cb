"""How far the trials of a sweep are, read from their folders while they run."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strictune.config import TrialSpec
from strictune.launch.folder import SweepFolder

__all__ = ["TrialProgress", "describe", "read_progress", "reporting"]

State = Literal["waiting", "running", "FINISHED", "FAILED", "KILLED"]
TAIL_BYTES = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProgress:
    """One trial at one moment."""

    name: str
    state: State
    reason: str | None
    step: int
    num_steps: int
    reward: float | None
    """Mean weighted reward of the last step's completions."""
    primary_rung: str
    primary_frac: float | None
    """Share of the last step's completions that reach the task's primary rung."""
    step_s: float | None


def read_progress(spec: TrialSpec, folder: SweepFolder) -> TrialProgress:
    """Read one trial's state; what it has not written yet is None."""
    outcome = folder.outcome(spec.trial_id)
    last = _last_training_line(folder.trial(spec.trial_id) / "metrics.jsonl")
    metrics = last.get("metrics", {})
    state: State = outcome["state"] if outcome else ("running" if last else "waiting")
    return TrialProgress(
        name=spec.display_name,
        state=state,
        reason=outcome["reason"] if outcome else None,
        step=int(last.get("step", 0)),
        num_steps=spec.grpo.max_steps,
        reward=metrics.get("reward/total/mean"),
        primary_rung=spec.task.primary_rung,
        primary_frac=metrics.get(f"train/{spec.task.primary_rung}/pass_at_1"),
        step_s=metrics.get("time/step_s"),
    )


def describe(progress: TrialProgress) -> str:
    """Return one line for the terminal."""
    if progress.state == "FAILED":
        return f"{progress.name}: FAILED, {progress.reason}"
    if progress.state != "running":
        return f"{progress.name}: {progress.state}"
    parts = [f"step {progress.step}/{progress.num_steps}"]
    if progress.reward is not None:
        parts.append(f"reward {progress.reward:.2f}")
    if progress.primary_frac is not None:
        rung, share = progress.primary_rung, progress.primary_frac
        parts.append(f"{share:.0%} of its training completions {rung}")
    if progress.step_s is not None:
        parts.append(f"{progress.step_s:.1f} s a step")
    return f"{progress.name}: {', '.join(parts)}"


@contextmanager
def reporting(
    trials: Sequence[TrialSpec],
    folder: SweepFolder,
    *,
    say: Callable[[str], None],
    every_s: float,
) -> Iterator[None]:
    """Say what has changed, every ``every_s`` seconds, while the body runs."""
    stop = threading.Event()
    said: dict[str, str] = {}

    def say_news() -> None:
        for trial in trials:
            line = describe(read_progress(trial, folder))
            if said.get(trial.trial_id) != line:
                said[trial.trial_id] = line
                if not line.endswith(": waiting"):
                    say(line)

    def watch() -> None:
        while not stop.wait(every_s):
            say_news()

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        say_news()


def _last_training_line(path: Path) -> dict[str, Any]:
    """Return the last complete line that tells of a training step."""
    if not path.exists():
        return {}
    with path.open("rb") as handle:
        handle.seek(0, 2)
        handle.seek(max(0, handle.tell() - TAIL_BYTES))
        lines = handle.read().split(b"\n")[:-1]
    for line in reversed(lines):
        if b'"reward/total/mean"' in line and line.startswith(b"{"):
            return dict(json.loads(line))
    return {}
