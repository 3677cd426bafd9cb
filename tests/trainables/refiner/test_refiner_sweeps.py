"""Whole sweeps of the refiner through the command line, on the tiny model that cites."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_judge_server import is_check, serving

from strictune.config import load_trial

ROOT = Path(__file__).resolve().parents[3]
QUICKSTART = ROOT / "search_spaces" / "refiner_quickstart.yaml"
SMALL = {
    "trial.grpo.max_steps": 2,
    "trial.grpo.per_device_train_batch_size": 8,
    "task.num_train_rows": 40,
    "task.num_eval_rows": 12,
    "matrix.seed": [0, 1],
}

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def run(folder: Path, caches: Path, settings: Mapping[str, object]) -> Path:
    """Run the quickstart, and return its sweep's folder."""
    overrides = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-m", "strictune", "run", str(QUICKSTART), f"--out={folder}", *overrides],
        env={
            **os.environ,
            "XDG_CACHE_HOME": str(caches),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
        },
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "refiner-quickstart"


def metrics_of(trial: Path) -> list[dict[str, float]]:
    lines = (trial / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["metrics"] for line in lines]


def test_a_second_sweep_asks_the_judge_nothing_that_the_first_has_asked(tmp_path: Path) -> None:
    with serving() as server:
        judge = {"kind": "openai", "base_url": server.base_url, "model": "m"}
        settings: dict[str, Any] = {**SMALL, "task.judge": {**judge, "max_concurrent_calls": 8}}
        first = run(tmp_path / "first", tmp_path / "caches", settings)
        num_requests = len(server.requests)
        assert 0 < sum(map(is_check, server.requests)) < num_requests
        second = run(tmp_path / "second", tmp_path / "caches", settings)
        # A judge that has nothing to answer is not even checked.
        assert len(server.requests) == num_requests
        assert server.most_at_once <= 8
    for sweep, is_cached in ((first, False), (second, True)):
        for trial in (sweep / "trials").iterdir():
            calls = [metrics.get("train/judge/calls") for metrics in metrics_of(trial)]
            assert any(calls) is not is_cached
            limit = load_trial(trial / "trial.yaml").task.judge.max_concurrent_calls
            assert limit == 8 // min(2, os.cpu_count() or 1)
    plan = yaml.safe_load((second / "sweep.yaml").read_text())
    assert plan["task"]["judge"]["max_concurrent_calls"] == 8


def test_the_quickstart_ends_better_than_it_began(tmp_path: Path) -> None:
    sweep = run(tmp_path / "runs", tmp_path / "caches", {})
    done = subprocess.run(
        [sys.executable, "-m", "strictune", "report", str(sweep), "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert [row["verdict"] for row in report["tables"]["differences"]] == ["better"]
    gains = {row["measure"]: row["delta_low"] for row in report["tables"]["measures"]}
    assert gains["rubric_mean"] > 0
    assert gains["citation_f1"] > 0
