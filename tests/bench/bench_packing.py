"""Makespan of four trials on two cores: packed, one after another, and with a vLLM server.

Run by ``make bench``, or by hand: ``python tests/bench/bench_packing.py --help``. Wants quiet.
Packed, two trials run at once with a thread each; one after another, each has two threads. Where
``STRICTUNE_VLLM`` names vLLM, they are packed once more around one server that generates for all.
The clock starts when the first trial begins and stops when the last has ended, so that Ray's
start, the server's, and the baselines, which are shared, are not in it. Rounds change the order.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NUM_TRIALS = 4
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "builtin:tiny": ("quickstart", {}),
    "package:smollm2-135m": (
        "smollm2_cpu",
        {"trial.grpo.max_completion_length": 48, "evaluation.max_new_tokens": 48},
    ),
}
"""The sweep file of a model, and what is changed in it."""
TRIALS: Mapping[str, Any] = {
    "trial.grpo.max_steps": 4,
    "matrix.thinking": "[false]",
    "matrix.seed": list(range(NUM_TRIALS)),
    "contrasts": "[]",
    "evaluation.num_prompts_per_difficulty": 10,
}
PACKED: Mapping[str, Any] = {"resources.cpus_per_trial": 1, "resources.max_concurrent_trials": 2}
PLACES: dict[str, Mapping[str, Any]] = {
    "packed": PACKED,
    "one after another": {"resources.cpus_per_trial": 2, "resources.max_concurrent_trials": 1},
}
if "STRICTUNE_VLLM" in os.environ:
    # A core is the server's, so a trial's share is half of the other one.
    PLACES["packed, one vLLM server"] = {
        "resources.cpus_per_trial": 0.5,
        "resources.max_concurrent_trials": 2,
        "trial.rollouts.engine": "vllm",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["builtin:tiny"], choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for model in options.models:
        compare(model, options.rounds)


def compare(model: str, num_rounds: int) -> None:
    """Print the makespan of each place, and its ratio to one after another."""
    spans: dict[str, list[float]] = {place: [] for place in PLACES}
    with tempfile.TemporaryDirectory(prefix="strictune-bench-") as work:
        for number in range(num_rounds):
            for place in PLACES if number % 2 == 0 else reversed(PLACES):
                name = f"{number}-{list(PLACES).index(place)}"
                spans[place].append(run_sweep(Path(work), name, model, place))
                print(
                    f"{model} {place}: {spans[place][-1]:.0f} s for {NUM_TRIALS} trials", flush=True
                )
    for place in PLACES.keys() - {"one after another"}:
        pairs = zip(spans[place], spans["one after another"], strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"{model} {place} / one after another: {ratio:.2f}")


def run_sweep(work: Path, name: str, model: str, place: str) -> float:
    """Run the trials through the command line and return their makespan."""
    file, changes = MODELS[model]
    settings = {"name": name, **TRIALS, **changes, **PLACES[place]}
    overrides = [text for item in settings.items() for text in ("--set", "{}={}".format(*item))]
    sweep = str(ROOT / "search_spaces" / f"{file}.yaml")
    command = [sys.executable, "-m", "strictune", "run", sweep, "--out", str(work)]
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
