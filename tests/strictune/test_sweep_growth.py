"""A finished sweep whose file gains a seed and a model: only what is new runs."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_sweep import mlflow_runs, read_json, run_sweep, trial_folders

from trainables.builtin import BUILTIN_MODELS

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SETTINGS: dict[str, Any] = {
    "trial__grpo__max_steps": 2,
    "matrix__thinking": "[false]",
    "matrix__curriculum": "[standard]",
    "contrasts": "[]",
}


def ended(tmp_path: Path) -> dict[str, bytes]:
    return {
        folder.name: (folder / "outcome.json").read_bytes()
        for folder in trial_folders(tmp_path)
        if (folder / "outcome.json").exists()
    }


def num_attempts(tmp_path: Path, name: str) -> int:
    folder = tmp_path / "runs" / "quickstart" / "trials" / name
    return len((folder / "attempts.jsonl").read_text().splitlines())


def test_a_seed_and_a_model_are_added_to_a_finished_sweep(tmp_path: Path) -> None:
    other = tmp_path / "other-tiny"
    shutil.copytree(BUILTIN_MODELS["builtin:tiny"].folder, other)
    first = run_sweep(tmp_path, **SETTINGS, matrix__seed="[0]")
    assert first.returncode == 0, first.stdout + first.stderr
    at_first = ended(tmp_path)
    assert len(at_first) == 1

    grown = SETTINGS | {
        "matrix__model": f"[builtin:tiny, {other}]",
        "matrix__seed": "[0, 1]",
    }
    part = run_sweep(tmp_path, "--resume", "--only", "model=builtin:tiny", **grown)
    assert part.returncode == 0, part.stdout + part.stderr
    assert "changed since the last run: matrix.seed ([0] -> [0, 1])" in part.stdout
    assert "running 1 trials" in part.stdout
    after_part = ended(tmp_path)
    assert len(after_part) == 2
    assert after_part.items() >= at_first.items()

    rest = run_sweep(tmp_path, "--resume", **grown)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert "running 2 trials" in rest.stdout
    everything = ended(tmp_path)
    assert len(everything) == 4
    assert everything.items() >= after_part.items()
    assert {num_attempts(tmp_path, name) for name in everything} == {1}
    runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len([run for run in runs if run.data.tags.get("strictune.trial")]) == 4
    assert read_json(tmp_path / "runs" / "quickstart" / "plan.json")["num_cells"] == 2
