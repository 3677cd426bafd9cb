"""A sweep with a search, and trials that end without being trained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from strictune.config import SweepSpec, TrialSpec, expand, load_sweep
from strictune.launch.folder import SweepFolder, write_trial
from strictune.launch.study.cell_study import CellStudy, open_storage
from strictune.launch.study.interim import interim_folder

RATE = "eval/strict/pass_at_1"


def search_sweep(path: Path, search: Mapping[str, Any] | None = None, **blocks: Any) -> SweepSpec:
    """Return a sweep of one cell whose search draws weights and the KL term."""
    content: dict[str, Any] = {
        "name": "s",
        "task": {"kind": "strict_json"},
        "trial": {"model": "builtin:tiny", "grpo": {"max_steps": 8}},
        "search": {
            "num_trials": 4,
            "sampler": "random",
            "space": {
                "rewards": {"min_weight": 0.02},
                "settings": {"grpo.beta": {"low": 0.001, "high": 0.1, "log": True}},
            },
            "first": [],
        }
        | dict(search or {}),
    } | blocks
    file = path / "search.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_sweep(file)


def open_study(sweep: SweepSpec, folder: SweepFolder, cell: int = 0) -> CellStudy:
    """Open the study of a cell, as each run of a sweep does."""
    assert sweep.search is not None
    folder.path.mkdir(parents=True, exist_ok=True)
    cells: dict[str, list[TrialSpec]] = {}
    for trial in expand(sweep):
        cells.setdefault(trial.cell, []).append(trial)
    members = list(cells.values())[cell]
    study = CellStudy(sweep, members, folder, storage=open_storage(sweep, folder))
    study.enqueue(sweep.search.first)
    return study


def end_trial(
    folder: SweepFolder,
    trial: TrialSpec,
    metrics: Mapping[str, float],
    *,
    state: str = "FINISHED",
    reason: str | None = None,
) -> None:
    """Leave what an ended trial leaves that a study reads."""
    path = write_trial(folder, trial)
    line = {"step": trial.grpo.max_steps, "time": 0.0, "metrics": dict(metrics)}
    (path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (path / "outcome.json").write_text(json.dumps({"state": state, "reason": reason}))


def write_interim(
    trial: Path,
    *,
    step: int,
    rate: float,
    seed: int,
    tokens: float = 70.0,
    num_families: int = 200,
) -> float:
    """Leave an interim evaluation of one prompt of each family; returns its Pass@1."""
    rng = np.random.default_rng(seed)
    results = interim_folder(trial, step)
    results.mkdir(parents=True)
    table = pd.DataFrame(
        {
            "prompt_id": [f"q{index:03d}" for index in range(num_families)],
            "family": [f"f{index:03d}" for index in range(num_families)],
            "difficulty": "simple",
            "sample": 0,
            "num_tokens": rng.normal(tokens, 10, num_families),
            "is_truncated": False,
            "is_thinking": False,
            "criterion/strict": rng.random(num_families) < rate,
        }
    )
    table.to_parquet(results / "samples.parquet")
    (results / "summary.json").write_text("{}")
    return float(table["criterion/strict"].mean())
