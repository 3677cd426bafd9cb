"""Writes the folder of a search: studies, confirming trials, and what they leave behind."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from reward_sweep import random_draw, write_matrix

from strictune.config import SweepSpec, TrialSpec, dump_yaml, expand, load_sweep, resolve_point
from strictune.planning import plan_document

SEARCH = Path(__file__).resolve().parents[2] / "search_spaces" / "reward_weights_quickstart.yaml"
RATE = "eval/strict/pass_at_1"
TOKENS = "eval/completion_tokens/mean"
BASE = ("trial.grpo.num_generations=4", "trial.grpo.per_device_train_batch_size=8")
COMPONENTS = ("format", "validity", "schema", "truncation", "repetition", "strictness")


def load_search(overrides: Sequence[str] = ()) -> SweepSpec:
    """Return the shipped search with small groups."""
    return load_sweep(SEARCH, [*BASE, *overrides])


def drawn_weights(num: int, *, seed: int = 0) -> list[dict[str, float]]:
    """Draw weights evenly, none below the floor of the shipped search."""
    drawn = 0.02 + 0.88 * np.random.default_rng(seed).dirichlet(np.ones(len(COMPONENTS)), size=num)
    return [dict(zip(COMPONENTS, row.tolist(), strict=True)) for row in drawn]


def point(number: int, weights: Mapping[str, float] | None = None, **given: Any) -> dict[str, Any]:
    """Return a point as ``studies.json`` holds it; without weights it is the cell itself."""
    settings = {} if weights is None else {"rewards_no_think": dict(weights)}
    own = dict(zip(COMPONENTS, (0.2, 0.25, 0.25, 0.1, 0.1, 0.1), strict=True))
    return {
        "number": number,
        "state": "finished",
        "is_from_before": False,
        "is_feasible": True,
        "constraints": {},
        "settings": settings,
        "weights": dict(weights or own),
        "values": [0.5],
        "interim_values": {},
        "reason": None,
        "trials": [],
    } | given


def write_search(
    folder: Path,
    points: Sequence[Mapping[str, Any]],
    *,
    winner: int | None = None,
    objectives: Sequence[Mapping[str, str]] = ({"metric": RATE, "mode": "max"},),
    overrides: Sequence[str] = (),
    num_trials: int | None = None,
) -> SweepSpec:
    """Write sweep.yaml, studies.json and a plan without confirming trials."""
    sweep = load_search(overrides)
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(dump_yaml(sweep), encoding="utf-8")
    (cell,) = expand(sweep)
    study = {
        "cell": cell.cell,
        "model": cell.model,
        "thinking": cell.thinking,
        "sampler": "tpe",
        "num_trials": len(points) if num_trials is None else num_trials,
        "objectives": list(objectives),
        "components": list(COMPONENTS),
        "default_weights": cell.weights,
        "winner": winner,
        "points": list(points),
    }
    _write_json(folder / "studies.json", {"studies": [study]})
    _write_json(folder / "plan.json", plan_document(sweep, []))
    return sweep


def confirm(
    folder: Path,
    sweep: SweepSpec,
    variants: Mapping[str, Mapping[str, Any]],
    *,
    rates: Mapping[str, float],
    seeds: Sequence[int] = (101, 102, 103),
) -> list[TrialSpec]:
    """Plan and finish confirming trials: ``rates`` of each variant, on both splits."""
    (cell,) = expand(sweep)
    trials = [
        resolve_point(sweep, cell, dict(settings), variant=variant, seed=seed)
        for variant, settings in variants.items()
        for seed in seeds
    ]
    planned = sweep.model_copy(update={"contrasts": ("variant",)})
    _write_json(folder / "plan.json", plan_document(planned, trials))
    for index, trial in enumerate(trials):
        write_finished(folder / "trials" / trial.trial_id, trial, rates[str(trial.variant)], index)
    return trials


def write_finished(folder: Path, trial: TrialSpec, rate: float, draw: int) -> None:
    """Write what a trial of 240 prompts leaves that has finished, its reward matrix included."""
    folder.mkdir(parents=True)
    (folder / "trial.yaml").write_text(dump_yaml(trial), encoding="utf-8")
    split = trial.evaluation.final_split
    key = {"suite": "5u17e", "split": split}
    lock = {
        "evaluation_key": key,
        "baseline_key": {**key, "dtype": "float32"},
        "baseline": "untrained",
    }
    _write_json(folder / "lock.json", lock)
    _write_json(folder / "outcome.json", {"state": "FINISHED", "reason": None, "seconds": 9.0})
    (folder / "eval" / split).mkdir(parents=True)
    _samples(rate, draw).to_parquet(folder / "eval" / split / "samples.parquet", index=False)
    write_matrix(folder, trial, random_draw(trial))
    line = {"step": 6, "time": 0.0, "metrics": {RATE: rate + 0.01 * (draw % 3 - 1)}}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")


def planted(weights: Sequence[Mapping[str, float]], gain: Callable[..., float]) -> list[float]:
    """Return ``gain`` of each weight vector with a noise of 3 points."""
    rng = np.random.default_rng(3)
    return [float(gain(**row) + rng.normal(0, 0.03)) for row in weights]


def _samples(rate: float, draw: int) -> pd.DataFrame:
    hardness = np.random.default_rng(7).random(240)
    level = 0.7 * hardness + 0.3 * np.random.default_rng([11, draw]).random(240)
    passes = level < rate
    criteria = {
        f"criterion/{name}": passes
        for name in ("syntax", "parsed", "conformant", "clean", "strict")
    }
    return pd.DataFrame(
        {
            "prompt_id": [f"p{number:04d}" for number in range(240)],
            "family": [f"f{number // 4:03d}" for number in range(240)],
            "difficulty": [("simple", "medium", "hard")[number % 3] for number in range(240)],
            "sample": 0,
            **criteria,
            "num_tokens": 40,
            "is_truncated": False,
            "is_thinking": False,
        }
    )


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
