"""Makespan of eight trials on two cores: packed, and one after another with both cores.

Run by hand, on a quiet machine: ``python tests/bench/bench_packing.py [rounds]``. Packed, two
trials run at once with a thread each; otherwise one runs with two threads. The clock starts when
the first trial begins and stops when the last has ended, so that Ray's start and the baselines,
which are shared, are not in it. Rounds change the order.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
NUM_TRIALS = 8
AIM = 0.7
TRIALS = {
    "trial.grpo.max_steps": 4,
    "matrix.thinking": "[false]",
    "matrix.curriculum": "[standard]",
    "matrix.seed": list(range(NUM_TRIALS)),
    "contrasts": "[]",
    "evaluation.num_prompts_per_difficulty": 10,
}
PLACES = {
    "packed": {"resources.cpus_per_trial": 1, "resources.max_concurrent_trials": 2},
    "one after another": {"resources.cpus_per_trial": 2, "resources.max_concurrent_trials": 1},
}


def main() -> None:
    num_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    ratios = []
    with tempfile.TemporaryDirectory(prefix="strictune-bench-") as work:
        for index in range(num_rounds):
            spans: dict[str, float] = {}
            for place in PLACES if index % 2 == 0 else reversed(PLACES):
                spans[place] = span_s = run_sweep(Path(work), f"{index}-{len(spans)}", place)
                print(f"{place}: {span_s:.0f} s for {NUM_TRIALS} trials", flush=True)
            ratios.append(spans["packed"] / spans["one after another"])
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"packed / one after another: {shown}; {statistics.median(ratios):.2f} (aim {AIM:g})")


def run_sweep(work: Path, name: str, place: str) -> float:
    """Run the trials through the command line and return their makespan."""
    settings = {"name": name} | TRIALS | PLACES[place]
    overrides = [text for item in settings.items() for text in ("--set", "{}={}".format(*item))]
    command = [sys.executable, "-m", "strictune", "run", str(QUICKSTART), "--out", str(work)]
    environment = os.environ | {
        "XDG_CACHE_HOME": str(work / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }
    with (work / f"{name}.txt").open("w+") as output:
        code = subprocess.call(
            [*command, *overrides], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        output.seek(0)
        assert code == 0, output.read()
    folders = list((work / name / "trials").iterdir())
    outcomes = [json.loads((folder / "outcome.json").read_text()) for folder in folders]
    assert [outcome["state"] for outcome in outcomes] == ["FINISHED"] * NUM_TRIALS
    begun = [first_attempt(folder)["time"] for folder in folders]
    return float(max(outcome["ended"] for outcome in outcomes) - min(begun))


def first_attempt(folder: Path) -> dict[str, Any]:
    """Return the line of a trial's first process."""
    return dict(json.loads((folder / "attempts.jsonl").read_text().splitlines()[0]))


if __name__ == "__main__":
    main()
