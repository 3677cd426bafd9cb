"""The parts of the GPU check, each in a process of its own: see ``check_gpu.py``, which starts it.

    python tests/gpu/gpu_parts.py PART MODEL DEVICE WORK

Prints a line for each thing that was tried, as soon as it is known.
"""

# ruff: noqa: T201 - the lines are for the process that started this one.

import gc
import json
import logging
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from check_gpu import MARK, ROOT, Result, lacks

MAKER = Path(__file__).with_name("made_models.py")
SHAPE = ROOT / "search_spaces" / "strict_json_single.yaml"

LENGTHS = {"memory": {"cuda": 512, "cpu": 16}, "speed": {"cuda": 128, "cpu": 16}}
"""New tokens of each completion, by part and device."""
PROMPT_TOKENS = {"cuda": 512, "cpu": 64}
BATCH = {"cuda": 32, "cpu": 2}
"""Completions that the engines generate together."""
SMALL = {
    "trial.grpo.num_generations": 2,
    "trial.grpo.gradient_accumulation_steps": 2,
    "evaluation.batch_size": 2,
    "evaluation.num_prompts_per_difficulty": 2,
}
"""What makes the published shape one for a CPU."""


class Job(NamedTuple):
    """What a part works on."""

    model: str
    """As it is shown."""
    device: str
    work: Path
    """Where models that were made are kept."""

    @property
    def folder(self) -> str:
        """What is loaded: made once, in another process, whose memory is not measured here."""
        from made_models import published_folder

        folder = published_folder(self.model, self.work)
        if folder is None:
            return self.model
        if not folder.exists():
            command = [sys.executable, str(MAKER), self.model, str(folder), self.device]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return str(folder)

    def spec(self, part: str) -> Any:
        """Return the published trial with this model, at the lengths of a part."""
        from strictune.config import expand, load_sweep

        tokens = LENGTHS[part][self.device]
        settings: dict[str, object] = {
            "trial.model": self.folder,
            "trial.dtype": "auto",
            "trial.grpo.max_completion_length": tokens,
            "evaluation.max_new_tokens": tokens,
        }
        settings |= SMALL if self.device == "cpu" else {}
        sweep = load_sweep(SHAPE, [f"{key}={value}" for key, value in settings.items()])
        return expand(sweep)[0]


def try_nf4(job: Job) -> Iterator[Result]:
    """Yield what the device computes in, a Triton kernel, and NF4 as trials load it."""
    from strictune.doctor import try_device

    for attempt in (
        try_device.try_precision,
        try_device.try_triton,
        try_device.try_attention,
        try_device.try_nf4,
    ):
        found = attempt()
        yield Result("nf4", found.name, found.status, found.found, found.cure)


def measure_memory(job: Job) -> Iterator[Result]:
    """Hold the first guess against what the probe measures."""
    spec = job.spec("memory")
    guess_gib = first_guess_gib(spec, device=job.device)
    probe = run_probe(spec, job)
    peak_gib = probe["memory_gib"] if job.device == "cpu" else probe["gpu_gib"]
    said = f"measured {peak_gib:.2f} GiB"
    if guess_gib is not None:
        said += f", first guess {guess_gib:.2f} ({guess_gib / peak_gib:.2f} times)"
    if probe["gpu_gib"] is not None:
        said += f"; reserved {probe['gpu_reserved_gib']:.2f}"
        failed_gib = probe["gpu_failed_gib"]
        said += f", too much for {failed_gib:.2f}" if failed_gib else ", kept within its share"
    said += f"; main memory {probe['memory_gib']:.2f}; "
    said += f"{probe['step_s']:.1f} s a step of {spec.max_completion_tokens} tokens"
    figures = {"first_guess_gib": guess_gib, **probe}
    yield Result("memory", job.model, "ok", said, figures=figures)


def run_probe(spec: Any, job: Job) -> dict[str, Any]:
    """Run the sweep's own probe in this process, on prompts that nobody has to score."""
    from made_models import StandInTask

    from trainables.memory import probe
    from trainables.models import load_tokenizer, resolve_model

    task = StandInTask(
        load_tokenizer(resolve_model(spec.model)),
        components=tuple(spec.stage_weights(spec.stages[0])),
        difficulties=spec.task.difficulties,
        max_prompt_tokens=PROMPT_TOKENS[job.device],
    )
    with (
        tempfile.TemporaryDirectory(dir=job.work) as folder,
        mock.patch.object(probe, "load_task", lambda settings: task),
    ):
        return asdict(probe.probe(spec, Path(folder)))


def first_guess_gib(spec: Any, *, device: str) -> float | None:
    """Return what the formula says of a trial; None for a model that it does not cover."""
    from trainables.memory.architecture import find_architecture
    from trainables.memory.estimate import estimate_gib
    from trainables.precision import resolve_dtype

    architecture = find_architecture(spec.model)
    if architecture is None:
        return None
    return estimate_gib(
        spec,
        architecture,
        device="cuda" if device == "cuda" else "cpu",
        dtype=resolve_dtype(spec.dtype, quantization=spec.quantization),
        max_prompt_tokens=PROMPT_TOKENS[device],
    )


def measure_speed(job: Job) -> Iterator[Result]:
    """Time each engine, then a training step."""
    from gpu_engines import ENGINES

    spec, batch = job.spec("speed"), BATCH[job.device]
    # Different prompts of one length.
    prompts = [
        f"{chr(97 + index % 26)} " * (PROMPT_TOKENS[job.device] // 4) for index in range(batch)
    ]
    for name, engine in ENGINES.items():
        named = f"{name}, {job.model}"
        try:
            tokens, seconds = engine(spec, prompts)
        except Exception as error:  # noqa: BLE001  the other engines are timed all the same
            yield Result("speed", named, "broken", first_line(error))
            continue
        finally:
            free_memory()
        token_ms = 1000 * seconds * batch / tokens
        said = f"{tokens / seconds:.0f} tokens/s in {batch} completions, {token_ms:.1f} ms a token"
        figures = {"tokens_per_s": tokens / seconds, "token_ms": token_ms}
        yield Result("speed", named, "ok", said, figures=figures)
    step_s = run_probe(spec, job)["step_s"]
    said = f"{step_s:.2f} s, {spec.grpo.completions_per_step} completions of "
    said += f"{spec.max_completion_tokens} tokens"
    yield Result("speed", f"training step, {job.model}", "ok", said, figures={"step_s": step_s})


def free_memory() -> None:
    """Give back what the last engine held of the GPU."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_packing(job: Job) -> Iterator[Result]:
    """Run two trials on one GPU."""
    import gpu_packing

    yield from gpu_packing.check_packing()


def first_line(error: Exception) -> str:
    """Describe an error in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


RUN: Mapping[str, Callable[[Job], Iterator[Result]]] = {
    "nf4": try_nf4,
    "memory": measure_memory,
    "speed": measure_speed,
    "packing": check_packing,
}


def run(part: str, job: Job) -> Iterator[Result]:
    """Yield what a part finds; what it lacks or what stops it is found too."""
    try:
        if job.device == "cuda" and part != "packing":
            _require_gpu()
        yield from RUN[part](job)
    except ModuleNotFoundError as error:
        yield lacks(part, job.model, [str(error.name)])
    except Exception as error:  # noqa: BLE001  whatever it is, it is what was found
        traceback.print_exc()
        yield Result(part, job.model, "broken", first_line(error))


def _require_gpu() -> None:
    from trainables.devices import gpu_problem

    problem = gpu_problem()
    if problem is not None:
        raise RuntimeError(f"{problem.found}. {problem.cure}")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    part, model, device, work = sys.argv[1:]
    for result in run(part, Job(model, device, Path(work))):
        print(MARK + json.dumps(result._asdict()), flush=True)
