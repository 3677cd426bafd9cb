"""Writes sweep folders as trials leave them behind, with answers drawn at given rates."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CRITERIA = ("syntax", "parsed", "conformant", "clean", "strict")
DIFFICULTIES = ("simple", "medium", "hard")
SHARED_KEY: Mapping[str, Any] = {
    "suite": "5u17e",
    "split": "test",
    "engine": "transformers",
    "temperature": 0.7,
    "scorer": "5c0re",
}


@dataclass(frozen=True, kw_only=True)
class FakeTrial:
    """One planned trial and what became of it."""

    trial_id: str
    thinking: bool = False
    curriculum: str = "standard"
    method: str = "grpo"
    variant: str | None = None
    seed: int = 0
    model: str = "tiny"
    quantization: str = "none"
    state: str | None = "FINISHED"
    """None: its folder was never made."""
    reason: str | None = None
    rates: tuple[float, float, float] = (0.9, 0.7, 0.5)
    """P(parsed), P(conformant), P(strict); nested."""
    think_rate: float | None = None
    evaluation_key: Mapping[str, Any] = field(default_factory=lambda: SHARED_KEY)
    num_prompts: int = 240
    num_samples: int = 1

    @property
    def cell(self) -> str:
        name = f"{self.model} {'think' if self.thinking else 'no-think'} {self.curriculum}"
        marks = [self.method if self.method != "grpo" else None, self.variant]
        return " ".join([name, *(mark for mark in marks if mark is not None)])

    @property
    def baseline_key(self) -> dict[str, Any]:
        own = {"model": self.model, "thinking": self.thinking, "quantization": self.quantization}
        return {**self.evaluation_key, **own, "dtype": "bfloat16"}

    @property
    def baseline(self) -> str:
        name = f"{self.model}-{'think' if self.thinking else 'plain'}"
        return name if self.quantization == "none" else f"{name}-{self.quantization}"


def write_sweep(
    folder: Path,
    trials: Sequence[FakeTrial],
    *,
    contrasts: Sequence[str] = (),
    baseline_rates: tuple[float, float, float] = (0.6, 0.4, 0.2),
    ties: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write the plan, every started trial, and the baselines they name."""
    folder.mkdir(parents=True)
    plan = {
        "sweep": folder.name,
        "task": "strict_json",
        "primary_criterion": "strict",
        "criteria": list(CRITERIA),
        "contrasts": list(contrasts),
        "cells": [{"name": cell, "ties": list(parts)} for cell, parts in (ties or {}).items()],
        "trials": [
            {
                "trial_id": trial.trial_id,
                "name": f"{trial.cell} seed {trial.seed}",
                "cell": trial.cell,
                "model": trial.model,
                "thinking": trial.thinking,
                "curriculum": trial.curriculum,
                "method": trial.method,
                "variant": trial.variant,
                "seed": trial.seed,
            }
            for trial in trials
        ],
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    for index, trial in enumerate(trials):
        if trial.state is not None:
            write_run(folder / "trials" / trial.trial_id, trial, draw=index + 1)
        baseline = folder / "baselines" / trial.baseline
        if not baseline.exists():
            write_run(baseline, trial, draw=0, rates=baseline_rates, state="FINISHED")
    return folder


def write_run(
    folder: Path,
    trial: FakeTrial,
    *,
    draw: int,
    rates: tuple[float, float, float] | None = None,
    state: str | None = None,
) -> Path:
    """Write one run's folder: lock, outcome, and, if it finished, its samples."""
    folder.mkdir(parents=True)
    state = state or trial.state
    lock = {
        "git_sha": None,
        "evaluation_key": dict(trial.evaluation_key),
        "baseline_key": trial.baseline_key,
        "baseline": trial.baseline,
    }
    (folder / "lock.json").write_text(json.dumps(lock))
    if state == "RUNNING":
        return folder
    outcome = {"state": state, "reason": trial.reason, "steps": 60, "seconds": 312.4}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    if state == "FINISHED":
        split = folder / "eval" / "test"
        split.mkdir(parents=True)
        samples(trial, draw=draw, rates=rates or trial.rates).to_parquet(
            split / "samples.parquet", index=False
        )
    return folder


def samples(trial: FakeTrial, *, draw: int, rates: tuple[float, float, float]) -> pd.DataFrame:
    """Draw answers; the same prompt is as hard for everyone, which is what pairing uses."""
    hardness = np.random.default_rng(7).random(trial.num_prompts)
    rng = np.random.default_rng([11, draw])
    think_rate = trial.think_rate if trial.think_rate is not None else float(trial.thinking)
    rows = []
    for prompt in range(trial.num_prompts):
        for sample in range(trial.num_samples):
            level = 0.7 * hardness[prompt] + 0.3 * rng.random()
            parsed, conformant, strict = (bool(level < rate) for rate in rates)
            rows.append(
                {
                    "prompt_id": f"p{prompt:04d}",
                    "family": f"f{prompt // 4:03d}",
                    "difficulty": DIFFICULTIES[prompt % 3],
                    "sample": sample,
                    "completion": "text",
                    "criterion/syntax": parsed,
                    "criterion/parsed": parsed,
                    "criterion/conformant": conformant,
                    "criterion/clean": strict,
                    "criterion/strict": strict,
                    "reward/schema": float(conformant),
                    "error_class": "ok" if strict else "extra_key",
                    "error_path": "",
                    "num_tokens": 40,
                    "is_truncated": False,
                    "is_thinking": bool(rng.random() < think_rate),
                }
            )
    return pd.DataFrame(rows)
