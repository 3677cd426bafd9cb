"""A training step against the same step of a bare TRL script, in CPU seconds and in seconds.

Run by ``make bench``, or by hand: ``python tests/bench/bench_rollouts.py --help``. Base, adapter,
prompts and settings are those of the quickstart and of ``smollm2_cpu.yaml``, with a learning rate
that changes nothing, so that all ways generate from one policy. A round measures each way once,
one after the other and in turned order, so that what else the machine does falls on all; CPU
seconds, of one thread, do not count it at all.
"""

# ruff: noqa: T201 - printing is what a benchmark is for.

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bare_trl import Mark, train
from transformers import logging as transformers_logging

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from strictune.config import TrialSpec, expand, load_sweep  # noqa: E402
from trainables.context import trial_context  # noqa: E402
from trainables.curriculum import order_prompts, plan_stages  # noqa: E402
from trainables.grpo import build_grpo_trainer  # noqa: E402
from trainables.models import training_device  # noqa: E402
from trainables.records import TrialRecords  # noqa: E402
from trainables.trainer_arguments import NOT_TRL_FIELDS  # noqa: E402
from trainables.training_prompts import training_prompts  # noqa: E402

BARE = "bare TRL"
WAYS: Mapping[str, tuple[str, ...]] = {
    "merged": ("engine=transformers", "weights=merged"),
    "adapter": ("engine=transformers", "weights=adapter"),
    "continuous_batching": ("engine=continuous_batching",),
    BARE: (),
}
MODELS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "builtin:tiny": ("quickstart", ()),
    "package:smollm2-135m": (
        "smollm2_cpu",
        ("grpo.gradient_accumulation_steps=1", "grpo.max_completion_length=48"),
    ),
}
"""The sweep file whose first cell is trained, and what is changed in it."""
WARM_UP = 1


class Cost(NamedTuple):
    """Medians over the steps after the warm-up."""

    seconds: float
    cpu_s: float
    tokens: float
    """Generated for a step."""


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    for model in options.models:
        for quantization in options.quantization:
            race(model, quantization, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["builtin:tiny"], choices=list(MODELS))
    parser.add_argument("--quantization", nargs="+", default=["nf4", "none"])
    parser.add_argument("--ways", nargs="+", default=["merged"], choices=list(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of which the first is not counted")
    return parser.parse_args()


def race(model: str, quantization: str, options: argparse.Namespace) -> None:
    """Print what each way takes, round by round, and the ratios to bare TRL."""
    ways = [*options.ways, BARE]
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            spec = trial(model, way, quantization=quantization, seed=number, steps=options.steps)
            costs[way].append(cost := measure(spec, is_bare=way == BARE))
            print(
                f"{model} {quantization} {spec.dtype}  round {number}  {way:20s} "
                f"{cost.cpu_s:7.2f} CPU s, {cost.seconds:7.2f} s, {cost.tokens:5.0f} tokens a step",
                flush=True,
            )
    for way in options.ways:
        pairs = list(zip(costs[way], costs[BARE], strict=True))
        cpu, wall = ([one[i] / bare[i] for one, bare in pairs] for i in (1, 0))
        shown = ", ".join(f"{ratio:.2f}" for ratio in cpu)
        print(
            f"{model} {quantization}  {way} / {BARE}: CPU {statistics.median(cpu):.2f} ({shown}), "
            f"wall {statistics.median(wall):.2f}",
            flush=True,
        )


def trial(model: str, way: str, *, quantization: str, seed: int, steps: int) -> TrialSpec:
    name, changes = MODELS[model]
    settings = [
        f"trial.grpo.max_steps={steps}",
        "trial.grpo.learning_rate=1e-9",
        f"trial.quantization={quantization}",
        f"matrix.seed=[{seed}]",
        *(f"trial.{change}" for change in changes),
        *(f"trial.rollouts.{setting}" for setting in WAYS[way]),
    ]
    return expand(load_sweep(ROOT / "search_spaces" / f"{name}.yaml", settings))[0]


def measure(spec: TrialSpec, *, is_bare: bool) -> Cost:
    """Train, and take the medians of the steps after the warm-up."""
    # A bare trainer prints every step.
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
        marks = (train_bare if is_bare else train_ours)(spec, Path(work))
    steps = [
        tuple(after - before for before, after in zip(*pair, strict=True))
        for pair in zip(marks[WARM_UP - 1 :], marks[WARM_UP:], strict=False)
    ]
    return Cost(*(statistics.median(column) for column in zip(*steps, strict=True)))


def train_ours(spec: TrialSpec, folder: Path) -> list[Mark]:
    marks: list[Mark] = []

    def mark(step: int, metrics: Mapping[str, float]) -> None:
        tokens = metrics["train/completion_tokens"]
        marks.append((time.perf_counter(), time.process_time(), tokens))

    context = trial_context(spec, folder, TrialRecords(folder), report=mark)
    stage = plan_stages(spec)[0]
    build_grpo_trainer(context, stage, folder / "checkpoints", adapter=None).train()
    context.records.close()
    return marks


def train_bare(spec: TrialSpec, folder: Path) -> list[Mark]:
    context = trial_context(spec, folder, TrialRecords(folder))
    stage = plan_stages(spec)[0]
    prompts = order_prompts(
        context.task.prompts("train"),
        stage.spec,
        num_prompts=stage.num_steps * spec.prompts_per_step,
        seed=spec.seed,
    )
    return train(
        context.source.location,
        [text for _, text, _ in training_prompts(context, prompts)],
        nf4=spec.quantization == "nf4",
        lora=spec.lora.model_dump() | {"target_modules": list(spec.lora.target_modules)},
        **bare_settings(spec, folder / "bare", has_bfloat16=context.dtype == "bfloat16"),
    )


def bare_settings(spec: TrialSpec, folder: Path, *, has_bfloat16: bool) -> Mapping[str, Any]:
    """Return the settings of a trial that TRL knows."""
    return {
        "output_dir": str(folder),
        "max_steps": spec.grpo.max_steps,
        "max_completion_length": spec.max_completion_tokens,
        "temperature": spec.grpo.temperature,
        "gradient_checkpointing": False,
        "bf16": has_bfloat16,
        "use_cpu": training_device() == "cpu",
        "seed": spec.seed,
        "save_strategy": "no",
        **spec.grpo.model_dump(exclude={*NOT_TRL_FIELDS, "gradient_checkpointing"}),
    }


if __name__ == "__main__":
    main()
