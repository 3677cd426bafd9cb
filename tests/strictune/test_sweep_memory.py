"""Whole sweeps on auto: measured once, packed by it, and held against it at the end."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tiny_sweep import read_json, run_sweep

pytestmark = pytest.mark.ray

ON_AUTO = {
    "trial__grpo__max_steps": 2,
    "matrix__thinking": "[false]",
    "matrix__curriculum": "[standard]",
    "matrix__seed": "[0, 1]",
    "contrasts": "[]",
    "resources__gpus_per_trial": "auto",
    "resources__cpus_per_trial": "auto",
}


def run(tmp_path: Path, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    # A cache of its own: what was measured before is not measured again.
    return run_sweep(tmp_path, *options, cache=tmp_path / "cache", **ON_AUTO | more)


@pytest.mark.slow
def test_auto_measures_a_shape_once_and_packs_by_it(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count("measuring the memory of") == 1
    assert "planned and actual costs" in first.stdout
    [cell] = read_json(tmp_path / "runs" / "quickstart" / "costs.json")["cells"].values()
    assert cell["memory"]["source"] == "measured"
    assert cell["step"]["source"] == "probe, at worst lengths"
    assert cell["grant"]["memory_gib"] > cell["memory"]["peak_gib"] > 0.3
    [cache] = (tmp_path / "cache" / "strictune" / "costs").glob("*.json")
    assert len(json.loads(cache.read_text())["trials"]) == 2

    second = run(tmp_path, "--json", name="again", trial__grpo__learning_rate=1e-4)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "measuring the memory of" not in second.stderr
    document = json.loads(second.stdout)
    assert (document["status"], document["num_by_state"]) == ("FINISHED", {"FINISHED": 2})
    assert document["costs"][0]["planned_step_source"] == "earlier trials"
    assert document["costs"][0]["num_finished"] == 2
    assert document["verdicts"]["sweep"] == "again"
    [cell] = read_json(tmp_path / "runs" / "again" / "costs.json")["cells"].values()
    assert cell["step"]["source"] == "earlier trials"


def test_a_probe_that_cannot_run_ends_the_sweep_before_its_trials(tmp_path: Path) -> None:
    done = run(tmp_path, matrix__model="[no/such-model]")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "could not be measured: " in done.stderr
    assert "no/such-model" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    folder = tmp_path / "runs" / "quickstart" / "trials"
    assert not list(folder.glob("*/attempts.jsonl"))
