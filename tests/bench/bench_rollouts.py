"""Seconds of an optimizer step by how completions are generated, on the quickstart's first cell.

Run by hand: ``python tests/bench/bench_rollouts.py [rounds]``. A round is the same trial in each
way, one after the other, so that what else the machine does falls on all; CPU seconds do not
count it at all.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import logging as transformers_logging

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from strictune.config import TrialSpec, expand, load_sweep  # noqa: E402
from trainables.context import TrialContext  # noqa: E402
from trainables.curriculum import plan_stages  # noqa: E402
from trainables.grpo import build_grpo_trainer  # noqa: E402
from trainables.models import load_tokenizer, resolve_model  # noqa: E402
from trainables.precision import resolve_dtype  # noqa: E402
from trainables.records import TrialRecords  # noqa: E402
from trainables.tasks import load_task  # noqa: E402

WAYS = {
    "merged": ("engine=transformers", "weights=merged"),
    "adapter": ("engine=transformers", "weights=adapter"),
    "continuous_batching": ("engine=continuous_batching",),
}
NUM_STEPS = 8
WARM_UP = 2
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"


class Cost(NamedTuple):
    """Medians over steps."""

    step_s: float
    cpu_s: float
    tokens: float
    """Of all completions of a step."""


def main() -> None:
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    ratios: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds):
        costs = {}
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            costs[way] = cost = measure(trial(way, seed=number))
            print(
                f"round {number}  {way:20s} {cost.step_s:6.2f} s a step, {cost.cpu_s:6.2f} s of "
                f"CPU, {cost.tokens:5.0f} tokens",
                flush=True,
            )
        for way, cost in costs.items():
            ratios[way].append(cost.cpu_s / costs["adapter"].cpu_s)
    for way, found in ratios.items():
        shown = ", ".join(f"{ratio:.2f}" for ratio in found)
        print(f"CPU seconds, {way} / adapter: {shown}; median {statistics.median(found):.2f}")


def trial(way: str, *, seed: int) -> TrialSpec:
    settings = [
        f"trial.grpo.max_steps={NUM_STEPS}",
        *(f"trial.rollouts.{setting}" for setting in WAYS[way]),
        f"matrix.seed=[{seed}]",
    ]
    return expand(load_sweep(QUICKSTART, settings))[0]


def measure(spec: TrialSpec) -> Cost:
    """Train, and time the steps after the warm-up."""
    marks: list[tuple[float, float, float]] = []

    def mark(step: int, metrics: dict[str, float]) -> None:
        tokens = metrics.get("train/completions/mean_length")
        if tokens is not None:
            total = tokens * spec.grpo.completions_per_step
            marks.append((time.perf_counter(), time.process_time(), total))

    with tempfile.TemporaryDirectory() as work:
        folder, source = Path(work), resolve_model(spec.model)
        context = TrialContext(
            spec=spec,
            folder=folder,
            dtype=resolve_dtype(spec.dtype, quantization=spec.quantization),
            task=load_task(spec.task),
            source=source,
            tokenizer=load_tokenizer(source),
            records=TrialRecords(folder),
            report=mark,
            beat=lambda: None,
        )
        stage = plan_stages(spec)[0]
        build_grpo_trainer(context, stage, folder / "checkpoints", adapter=None).train()
        context.records.close()
    steps = [
        (after[0] - before[0], after[1] - before[1], after[2])
        for before, after in zip(marks[WARM_UP:], marks[WARM_UP + 1 :], strict=False)
    ]
    return Cost(*(statistics.median(column) for column in zip(*steps, strict=True)))


if __name__ == "__main__":
    main()
