"""The part of the GPU check that packs two trials on a GPU: see ``check_gpu.py``."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from check_gpu import ROOT, Result

QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
SHARE = 0.5
TWO_TRIALS = {
    "name": "packed",
    "trial.grpo.max_steps": 6,
    "matrix.thinking": "[false]",
    "matrix.curriculum": "[standard]",
    "matrix.seed": "[0, 1]",
    "contrasts": "[]",
    "resources.gpus_per_trial": SHARE,
}


class Trial(NamedTuple):
    """When a trial of a sweep ran, and the most that it took of the GPU."""

    began: float
    ended: float
    peak_gib: float


def check_packing() -> Iterator[Result]:
    """Run two trials of half a GPU each through the command line."""
    from strictune.hardware import this_machine

    gpu = this_machine().gpu
    if gpu is None:
        yield Result("packing", "packing", "skipped", "it shares a GPU out, and there is none")
        return
    with tempfile.TemporaryDirectory(prefix="strictune-gpu-") as work:
        done = run_sweep(Path(work))
        if done.returncode:
            output = (done.stdout + done.stderr).strip().splitlines()
            said = " / ".join(output[-3:])
            yield Result("packing", "packing", "broken", said, "Run the quickstart by hand.")
            return
        folders = (Path(work) / "packed" / "trials").iterdir()
        first, second = sorted(map(read_trial, folders))
    together_s = first.ended - second.began
    found = (
        f"peaks {first.peak_gib:.2f} and {second.peak_gib:.2f} GiB in {SHARE:g} of "
        f"{gpu.memory_gib:.0f} each, together for {together_s:.0f} s"
    )
    is_within = max(first.peak_gib, second.peak_gib) <= SHARE * gpu.memory_gib
    figures = {"together_s": together_s, "peaks_gib": [first.peak_gib, second.peak_gib]}
    status = "ok" if together_s > 0 and is_within else "broken"
    yield Result("packing", "packing", status, found, figures=figures)


def run_sweep(out: Path) -> subprocess.CompletedProcess[str]:
    """Run the two trials, with results and caches below ``out``."""
    overrides = [text for item in TWO_TRIALS.items() for text in ("--set", "{}={}".format(*item))]
    command = [sys.executable, "-m", "strictune", "run", str(QUICKSTART), "--out", str(out)]
    environment = os.environ | {"XDG_CACHE_HOME": str(out / "cache")}
    return subprocess.run(
        [*command, *overrides], env=environment, capture_output=True, text=True, check=False
    )


def read_trial(folder: Path) -> Trial:
    """Read a finished trial's records."""
    (first, *_) = json_lines(folder / "attempts.jsonl")
    peaks = [
        line["metrics"].get("gpu/peak_gib", 0) for line in json_lines(folder / "metrics.jsonl")
    ]
    ended = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))["ended"]
    return Trial(began=first["time"], ended=ended, peak_gib=max(peaks))


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON document a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
