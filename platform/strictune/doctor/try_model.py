"""Tries the device and the engines with builtin:tiny: ``python -m strictune.doctor.try_model``.

It uses the functions that trials use.
"""

import functools
import logging
import os
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub.constants import HF_HUB_CACHE
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers import logging as transformers_logging
from transformers.generation import ContinuousBatchingConfig

from strictune.cache import cache_folder
from strictune.doctor.examination import Finding, broken, ok, print_findings, warning
from strictune.doctor.try_device import (
    CURE,
    PROBED_MODEL,
    try_attention,
    try_nf4,
    try_precision,
    try_triton,
)
from strictune.errors import TrialError
from trainables.builtin import BUILTIN_MODELS
from trainables.devices import driver_gpus, gpu_problem
from trainables.distributed import deepspeed_obstacle
from trainables.models import (
    ModelSource,
    load_base_model,
    load_tokenizer,
    resolve_model,
    training_device,
)
from trainables.precision import resolve_dtype
from trainables.prompting import render_prompt
from trainables.rollouts.continuous_batching import generate_all
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.tasks.task import Message

__all__ = ["NAMES"]

NUM_NEW_TOKENS = 8
MESSAGES: tuple[Message, ...] = (
    {"role": "system", "content": "You answer with JSON."},
    {"role": "user", "content": "Describe a bridge."},
)
MAX_HUB_MODELS = 20


class _Tiny(NamedTuple):
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompt: str


@functools.cache
def _tiny() -> _Tiny:
    """Load builtin:tiny in NF4, as trials do."""
    source = resolve_model(PROBED_MODEL)
    tokenizer = load_tokenizer(source)
    dtype = resolve_dtype("auto", quantization="nf4")
    model = load_base_model(source, quantization="nf4", dtype=dtype)
    return _Tiny(model, tokenizer, render_prompt(tokenizer, MESSAGES, thinking=False).text)


def try_gpu() -> Finding:
    """Whether torch sees the GPUs that the driver sees."""
    gpus = driver_gpus()
    if not torch.cuda.is_available():
        if not gpus:
            return ok("gpu", "none; trials run on the CPU")
        if os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
            hidden = f"{gpus}, hidden by CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']}"
            return warning("gpu", hidden, cure="unset CUDA_VISIBLE_DEVICES")
    problem = gpu_problem()
    if problem is not None:
        return broken("gpu", problem.found, cure=problem.cure)
    found = "; ".join(
        f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
        for gpu in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    )
    return ok("gpu", f"{found}; torch is built for CUDA {torch.version.cuda}")


def try_transformers() -> Finding:
    """Generate with the engine that runs everywhere."""
    tiny = _tiny()
    engine = TransformersEngine(tiny.model, tiny.tokenizer, batch_size=2)
    started = time.monotonic()
    decoding = Decoding(temperature=0.0, top_p=1.0, max_new_tokens=NUM_NEW_TOKENS)
    completions = engine.generate([tiny.prompt] * 2, decoding, seed=0)
    seconds = time.monotonic() - started
    return _generated("transformers", [c.num_tokens for c in completions], seconds)


def try_continuous_batching() -> Finding:
    """Generate with transformers' continuous batching."""
    tiny = _tiny()
    ids = tiny.tokenizer(tiny.prompt)["input_ids"]
    started = time.monotonic()
    outputs = generate_all(
        tiny.model,
        [ids] * 2,
        generation_config=GenerationConfig(
            max_new_tokens=NUM_NEW_TOKENS,
            do_sample=False,
            eos_token_id=tiny.tokenizer.eos_token_id,
            pad_token_id=tiny.tokenizer.pad_token_id,
        ),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=64, num_blocks=64, max_batch_tokens=512, max_memory_percent=0.9
        ),
    )
    seconds = time.monotonic() - started
    counts = [len(output.generated_tokens) for output in outputs.values()]
    return _generated("continuous batching", counts, seconds)


def try_deepspeed() -> Finding:
    """Whether ZeRO-3 could run; it takes several GPUs, so that is left to a sweep."""
    if not torch.cuda.is_available():
        return ok("deepspeed", "not for this machine: ZeRO-3 shards over GPUs, and ddp does not")
    obstacle = deepspeed_obstacle()
    if obstacle is not None:
        cure = f"For distributed.strategy: zero3. {obstacle[0].upper()}{obstacle[1:]}"
        return warning("deepspeed", "cannot run", cure=cure)
    return ok("deepspeed", f"{metadata.version('deepspeed')} is installed; it was not started")


def try_chat_templates() -> Finding:
    """Render a conversation with every local model."""
    good: list[str] = []
    bad: list[str] = []
    for source in _local_models():
        try:
            text = render_prompt(load_tokenizer(source), MESSAGES, thinking=True).text
            is_good = all(message["content"] in text for message in MESSAGES)
        except (TrialError, OSError, ValueError):
            is_good = False
        (good if is_good else bad).append(source.name)
    if not bad:
        return ok("chat templates", f"all local models have one: {', '.join(good)}")
    return warning(
        "chat templates",
        f"missing or broken for {', '.join(bad)}; fine for {', '.join(good)}",
        cure="Sweep instruction-tuned models (-Instruct, -it, -chat), or add chat_template.jinja "
        "to the model's folder.",
    )


NAMES = {
    "gpu": try_gpu,
    "precision": try_precision,
    "triton": try_triton,
    "attention": try_attention,
    "transformers": try_transformers,
    "nf4": try_nf4,
    "continuous batching": try_continuous_batching,
    "deepspeed": try_deepspeed,
    "chat templates": try_chat_templates,
}


def _generated(name: str, num_tokens: list[int], seconds: float) -> Finding:
    if not all(0 < number <= NUM_NEW_TOKENS for number in num_tokens):
        return broken(name, f"completions of {num_tokens} tokens came back", cure=CURE)
    return ok(name, f"{sum(num_tokens)} tokens on {training_device()} in {seconds:.1f} s")


def _local_models() -> Iterator[ModelSource]:
    """Yield built-in, converted and downloaded models; none is downloaded for this."""
    folders = {name: builtin.folder for name, builtin in BUILTIN_MODELS.items()}
    folders |= {
        f"package:{path.name}": path
        for path in (cache_folder() / "models").glob("*")
        if (path / "config.json").is_file()
    }
    for path in sorted(Path(HF_HUB_CACHE).glob("models--*/snapshots/*/tokenizer_config.json")):
        if len(folders) == MAX_HUB_MODELS:
            break
        name = path.parents[2].name.removeprefix("models--").replace("--", "/")
        folders[name] = path.parent
    for name, folder in folders.items():
        yield ModelSource(name, str(folder), "unknown")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    print_findings(NAMES, cure=CURE)
