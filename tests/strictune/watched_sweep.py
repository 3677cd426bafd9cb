"""A sweep folder as trials leave it, written bit by bit, for the tests of ``strictune watch``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STAGES = (10, 20)
"""Steps of the two stages of every cell."""
START = 1_000_000_000.0
MODEL = {"model": "builtin:tiny", "thinking": True, "curriculum": "two-stage", "seed": 0}


class WatchedSweep:
    """A sweep of two stages below ``root``."""

    def __init__(self, root: Path, *, trial_ids: Sequence[str] = ("t0", "t1")) -> None:
        self.path = root / "runs" / "sweep"
        self.path.mkdir(parents=True)
        self.plan(trial_ids)
        (self.path / "sweep.yaml").write_text("name: sweep\n")

    def plan(self, trial_ids: Sequence[str]) -> None:
        cell = "tiny · think · two-stage"
        stages = [{"name": f"s{index}", "steps": steps} for index, steps in enumerate(STAGES)]
        trials = [
            {"trial_id": trial_id, "name": f"{cell} · {trial_id}", "cell": cell, **MODEL}
            for trial_id in trial_ids
        ]
        plan = {
            "sweep": "sweep",
            "task": "strict_json",
            "primary_criterion": "strict",
            "criteria": ["strict"],
            "cells": [{"name": cell, "stages": stages}],
            "trials": trials,
        }
        (self.path / "plan.json").write_text(json.dumps(plan))

    def trial(self, trial_id: str = "t0") -> "WatchedTrial":
        return WatchedTrial(self.path / "trials" / trial_id)

    def driver(self, *, pid: int, host: str, started: float = START) -> None:
        content = {"pid": pid, "host": host, "started": started}
        (self.path / "driver.json").write_text(json.dumps(content))


class WatchedTrial:
    """One trial's folder; a step takes 2 s and works through 100 tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def train(self, first: int, last: int, **metrics: float) -> None:
        """Log the steps from ``first`` to ``last``."""
        self.append(
            "metrics.jsonl", *(_training_line(step, metrics) for step in range(first, last + 1))
        )

    def evaluate(self, step: int, frac: float, *, seconds: float = 30.0) -> None:
        self.log(step, {"eval/strict/pass_at_1": frac, "time/eval_s": seconds})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.append("metrics.jsonl", _line(step, metrics))

    def start(self, *, time: float = START, why: str | None = None) -> None:
        content = {"time": time, "pid": 1, "node": "host", "step": 0, "why": why}
        self.append("attempts.jsonl", content)

    def end(self, state: str = "FINISHED", *, reason: str | None = None, steps: int = 30) -> None:
        outcome = {"state": state, "reason": reason, "steps": steps, "seconds": 60.0}
        (self.path / "outcome.json").write_text(json.dumps(outcome))

    def append(self, name: str, *contents: Mapping[str, Any]) -> None:
        with (self.path / name).open("a") as lines:
            lines.writelines(json.dumps(content) + "\n" for content in contents)

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def roll_back(self, size: int) -> None:
        """Cut ``metrics.jsonl`` back, as a trial does that goes on from a checkpoint."""
        with self.metrics_path.open("r+b") as lines:
            lines.truncate(size)


def _training_line(step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
    in_stage = step - (STAGES[0] if step > STAGES[0] else 0)
    values = {
        "train/num_tokens": 100.0 * in_stage,
        "time/step_s": 2.0,
        "reward/total/mean": step / 100,
        "train/strict/pass_at_1": 0.25,
    }
    return _line(step, values | dict(metrics))


def _line(step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
    return {"step": step, "time": START + 2 * step, "metrics": dict(metrics)}
