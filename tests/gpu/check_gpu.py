"""What only a GPU can show: run it by ``make gpu-check``, or with models of your choice.

    python tests/gpu/check_gpu.py builtin:tiny HuggingFaceTB/SmolLM2-135M-Instruct

Three checks on the first card: NF4 loads, evaluates and trains; the memory that the probe
measures for each model stands beside the first guess of ``trainables.memory.estimate``; two
trials of half a card each run at the same time and keep within their halves. Without a CUDA
device nothing is checked, and it says so.

THIS SCRIPT HAS NEVER RUN ON A CARD: it was written where there is none. What it calls has run on
CPUs, the script itself only as far as that goes.
"""

# ruff: noqa: T201 - it is a report.

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from strictune.config import TrialSpec, expand, load_sweep  # noqa: E402
from strictune.doctor.findings import Finding, broken, ok  # noqa: E402
from strictune.doctor.processes import try_in_process  # noqa: E402
from strictune.errors import StrictuneError  # noqa: E402
from strictune.hardware import this_machine  # noqa: E402
from strictune.packing import Card  # noqa: E402
from trainables.memory.architecture import find_architecture  # noqa: E402
from trainables.memory.estimate import estimate_memory, workload_of  # noqa: E402
from trainables.memory.measured import Probe  # noqa: E402
from trainables.memory.probe import measure_trial  # noqa: E402
from trainables.precision import resolve_dtype  # noqa: E402
from trainables.tasks import load_task  # noqa: E402

MODELS = ("builtin:tiny", "HuggingFaceTB/SmolLM2-135M-Instruct")
SHAPE = ROOT / "search_spaces" / "strict_json_single.yaml"
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


def main(models: list[str]) -> int:
    """Check and report; returns the exit status."""
    card = this_machine().card
    if card is None:
        print("skipped: nvidia-smi shows no GPU on this machine. Nothing was checked.")
        return 0
    # Nothing here touches the card itself: the probe takes all that is used on it for its own.
    findings = try_in_process("strictune.doctor.try_model", names=("gpu", "nf4"), limit_s=300)
    if findings[0].status != "broken":
        findings += [compare_memory(model, device="cuda") for model in models]
        findings.append(check_packing(card))
    for finding in findings:
        print(f"{finding.status}: {finding.name}: {finding.found}")
        if finding.cure is not None:
            print(f"    {finding.cure}")
    return int(any(finding.status == "broken" for finding in findings))


def compare_memory(model: str, *, device: str) -> Finding:
    """Measure a trial of ``model`` at its worst lengths and hold the first guess against it."""
    spec = expand(load_sweep(SHAPE, [f"trial.model={model}"]))[0]
    name = f"memory of {model}"
    try:
        probe = measure_trial(spec, num_threads=1)
    except StrictuneError as error:
        return broken(name, str(error), cure="See the message.")
    guess_gib = first_guess_gib(spec, device=device)
    peak_gib = probe.memory_gib if device == "cpu" else probe.gpu_gib
    if peak_gib is None or guess_gib is None:
        return broken(name, f"nothing was measured: {probe}", cure="Please report this.")
    return ok(
        name,
        f"measured {peak_gib:.2f} GiB, first guess {guess_gib:.2f} ({guess_gib / peak_gib:.2f} "
        f"times), main memory {probe.memory_gib:.2f}, {seconds(probe)}",
    )


def first_guess_gib(spec: TrialSpec, *, device: str) -> float | None:
    """Return what the formula says of a trial, after the probe has fetched the model."""
    architecture = find_architecture(spec.model)
    if architecture is None:
        return None
    workload = workload_of(
        spec,
        device="cuda" if device == "cuda" else "cpu",
        dtype=resolve_dtype(spec.dtype, quantization=spec.quantization),
        max_prompt_tokens=load_task(spec.task).max_prompt_tokens,
    )
    return estimate_memory(spec, architecture, workload).peak_gib


def seconds(probe: Probe) -> str:
    """Describe the probe's times."""
    return f"{probe.step_s:.1f} s a step at worst lengths, {probe.seconds:.0f} s in all"


class Trial(NamedTuple):
    """When a trial of a sweep ran, and the most that it took of the card."""

    began: float
    ended: float
    peak_gib: float


def check_packing(card: Card) -> Finding:
    """Run two trials of half a card each through the command line."""
    with tempfile.TemporaryDirectory(prefix="strictune-gpu-") as work:
        done = run_sweep(Path(work))
        if done.returncode:
            output = (done.stdout + done.stderr).strip().splitlines()
            return broken("packing", " / ".join(output[-3:]), cure="Run the quickstart by hand.")
        folders = (Path(work) / "packed" / "trials").iterdir()
        first, second = sorted(map(read_trial, folders))
    found = (
        f"peaks {first.peak_gib:.2f} and {second.peak_gib:.2f} GiB in {SHARE:g} of "
        f"{card.memory_gib:.0f} each, together for {first.ended - second.began:.0f} s"
    )
    is_within = max(first.peak_gib, second.peak_gib) <= SHARE * card.memory_gib
    if second.began >= first.ended or not is_within:
        return broken("packing", found, cure="Please report this.")
    return ok("packing", found)


def run_sweep(out: Path) -> subprocess.CompletedProcess[str]:
    """Run the two trials on the first card, with results and caches below ``out``."""
    overrides = [text for item in TWO_TRIALS.items() for text in ("--set", "{}={}".format(*item))]
    command = [sys.executable, "-m", "strictune", "run", str(QUICKSTART), "--out", str(out)]
    cards = os.environ.get("CUDA_VISIBLE_DEVICES") or "0"
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": cards.split(",")[0],
        "XDG_CACHE_HOME": str(out / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(MODELS)))
