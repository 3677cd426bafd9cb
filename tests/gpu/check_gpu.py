"""What only a GPU can show: run it by ``make gpu-check``, or by itself on a bare machine.

    python tests/gpu/check_gpu.py --only nf4,memory,speed
    python tests/gpu/check_gpu.py --device cpu --out small.json       # tries the check itself

``nf4``: precisions, a Triton kernel, and NF4 that loads, evaluates and trains. ``memory``: what
the probe measures of each model beside the first guess of ``trainables.memory.estimate``.
``speed``: tokens a second of each engine, and the time of a training step. ``packing``: two trials
of half a GPU each run at the same time and keep within their halves.

Models get random weights in their published sizes, so nothing is downloaded. Each part runs in a
process of its own on the first visible GPU and says what it lacks; ``packing`` needs all that
strictune needs, the others torch, transformers, peft, accelerate, trl, datasets, bitsandbytes and
pydantic. This file itself imports nothing but Python.

THIS SCRIPT HAS NEVER RUN ON A CARD: it was written where there is none, and has run on CPUs.
"""

# ruff: noqa: T201 - it is a report.

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PARTS_FILE = Path(__file__).with_name("gpu_parts.py")
MARK = "result: "
"""What the lines of a part begin with: libraries print too."""

MODELS = {
    "cuda": (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Qwen/Qwen2.5-0.5B-Instruct",
        "google/gemma-2-2b-it",
    ),
    "cpu": ("builtin:tiny",),
}
BASIC = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "pydantic", "yaml")
TRAINING = (*BASIC, "trl", "datasets", "pandas")
NEEDS: Mapping[str, Sequence[str]] = {
    "nf4": BASIC,
    "speed": TRAINING,
    "packing": (
        *TRAINING,
        *("ray", "mlflow", "optuna", "jsonschema", "jsonschema_rs", "llguidance", "platformdirs"),
        *("rich", "pyarrow", "scipy", "statsmodels", "altair"),
    ),
    "memory": TRAINING,
}
"""Modules by part. In this order they run: what has no time left is the largest model's memory."""
DISTRIBUTIONS = {"yaml": "pyyaml", "dateutil": "python-dateutil"}
"""Packages by module, where their names differ by more than a dash."""
PER_MODEL = ("speed", "memory")
MINUTES = 12.0
DRIVER_QUERY = (
    "nvidia-smi",
    "--query-gpu=name,driver_version,memory.total",
    "--format=csv,noheader",
)


class Result(NamedTuple):
    """One thing that was tried."""

    part: str
    name: str
    status: str
    """``ok``, ``warning``, ``broken``, ``lacks`` or ``skipped``."""
    found: str
    cure: str | None = None
    figures: Mapping[str, Any] = {}


def main(arguments: Sequence[str]) -> int:
    """Check and report; returns the exit status."""
    args = _parse(arguments)
    gpu = first_gpu()
    if args.device == "cuda" and gpu is None:
        print("skipped: nvidia-smi shows no GPU on this machine. Nothing was checked.")
        return 0
    started = time.monotonic()
    results: list[Result] = []
    print(f"on {gpu if args.device == 'cuda' else 'the CPU'}", flush=True)
    for result in check(args, deadline=started + 60 * args.minutes):
        results.append(result)
        print_result(result)
        document = {
            "device": gpu if args.device == "cuda" else "cpu",
            "seconds": round(time.monotonic() - started, 1),
            "results": [result._asdict() for result in results],
        }
        args.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s; figures in {args.out}")
    statuses = {result.status for result in results}
    return int("broken" in statuses or not statuses & {"ok", "warning"})


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check what only a GPU can show.")
    parser.add_argument("models", nargs="*", help="published names get random weights")
    parser.add_argument(
        "--only", default=",".join(NEEDS), help=f"parts (default: {','.join(NEEDS)})"
    )
    parser.add_argument("--device", choices=tuple(MODELS), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="where figures go")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for everything together")
    args = parser.parse_args(arguments)
    args.parts = args.only.split(",")
    unknown = set(args.parts) - NEEDS.keys()
    if unknown:
        parser.error(f"--only {args.only}: expected some of {', '.join(NEEDS)}, with commas")
    args.models = args.models or MODELS[args.device]
    return args


def check(args: argparse.Namespace, *, deadline: float) -> Iterator[Result]:
    """Yield what each part finds, one process after the other: memory is measured alone."""
    with tempfile.TemporaryDirectory(prefix="strictune-gpu-") as work:
        for part in (part for part in NEEDS if part in args.parts):
            missing = [name for name in NEEDS[part] if _is_missing(name)]
            if missing:
                yield lacks(part, part, missing)
                continue
            for model in args.models if part in PER_MODEL else (part,):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    yield Result(part, model, "skipped", "no time was left", "Raise --minutes.")
                    continue
                yield from run_part(part, model, args.device, work=Path(work), limit_s=left_s)


def lacks(part: str, name: str, missing: Sequence[str]) -> Result:
    """Say what a part would need."""
    packages = (DISTRIBUTIONS.get(module, module) for module in missing)
    return Result(part, name, "lacks", ", ".join(missing), f"pip install {' '.join(packages)}")


def _is_missing(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return True


def run_part(part: str, model: str, device: str, *, work: Path, limit_s: float) -> Iterator[Result]:
    """Run a part in a process of its own, which may crash or hang, and yield what it said."""
    command = [sys.executable, str(PARTS_FILE), part, model, device]
    process = subprocess.Popen(
        [*command, str(work)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment(device),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit_s)
        ended = f"its process ended with code {process.returncode}"
        ended = (errors.strip().splitlines() or [ended])[-1][:300] if process.returncode else ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # With the children that it may have.
        output, _ = process.communicate()
        ended = f"gave no answer within {limit_s:.0f} s"
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    yield from (Result(**json.loads(line.removeprefix(MARK))) for line in lines)
    if ended:
        yield Result(part, model, "broken", ended, f"To see more of it: {' '.join(command)} /tmp")


def environment(device: str) -> dict[str, str]:
    """Let a process import this checkout, see one GPU or none, and fragment little of it."""
    visible = (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
    paths = [str(ROOT), str(ROOT / "platform"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        **os.environ,
        "CUDA_VISIBLE_DEVICES": visible if device == "cuda" else "",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def first_gpu() -> str | None:
    """Return name, driver and memory of the first GPU that is not hidden."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if not visible:
        return None
    chosen = [f"--id={visible}"] if visible.isdecimal() else []
    try:
        asked = subprocess.run(
            [*DRIVER_QUERY, *chosen], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(asked.stdout.splitlines()), None) if asked.returncode == 0 else None


def print_result(result: Result) -> None:
    """Print one line, and the cure below it."""
    name = result.part if result.name == result.part else f"{result.part}, {result.name}"
    print(f"{result.status}: {name}: {result.found}", flush=True)
    if result.cure is not None:
        print(f"    {result.cure}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
