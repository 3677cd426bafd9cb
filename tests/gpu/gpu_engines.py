"""Times what completions can come from, for the GPU check: see ``check_gpu.py``.

A new engine is a function and an entry in ``ENGINES``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from peft import get_peft_model
from transformers import GenerationConfig
from transformers.generation import ContinuousBatchingConfig

from trainables.models import load_base_model, load_tokenizer, lora_config, resolve_model
from trainables.precision import resolve_dtype
from trainables.rollouts.continuous_batching import generate_all
from trainables.rollouts.merged import MergedCopy
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine

__all__ = ["ENGINES", "Timed"]


class Timed(NamedTuple):
    """What an engine generated, and how long it took."""

    tokens: int
    seconds: float


def time_nf4_with_adapter(spec: Any, prompts: Sequence[str]) -> Timed:
    """Generate through the quantized base and the adapter beside each layer."""
    return _time_transformers(_adapted_model(spec), spec, prompts)


def time_merged_copy(spec: Any, prompts: Sequence[str]) -> Timed:
    """Generate from a plain copy with the adapter merged in, as trials do."""
    return _time_transformers(MergedCopy(_adapted_model(spec)).model, spec, prompts)


def time_continuous_batching(spec: Any, prompts: Sequence[str]) -> Timed:
    """Generate with transformers' continuous batching, from the merged copy."""
    model = MergedCopy(_adapted_model(spec)).model
    tokenizer = load_tokenizer(resolve_model(spec.model))
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]

    def generate(num_tokens: int) -> int:
        outputs = generate_all(
            model,
            ids,
            generation_config=GenerationConfig(
                max_new_tokens=num_tokens,
                eos_token_id=-1,  # No token ends a completion.
                pad_token_id=tokenizer.pad_token_id,
                do_sample=True,
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=64,
                num_blocks=len(ids) * (1 + (len(ids[0]) + num_tokens) // 64),
                max_batch_tokens=512,
                max_memory_percent=0.9,
            ),
        )
        return sum(len(output.generated_tokens) for output in outputs.values())

    return _time(generate, spec)


ENGINES: Mapping[str, Callable[[Any, Sequence[str]], Timed]] = {
    "NF4 + adapter": time_nf4_with_adapter,
    "merged copy": time_merged_copy,
    "continuous batching": time_continuous_batching,
}


def _adapted_model(spec: Any) -> Any:
    """Load the base as trials do, with a new adapter."""
    dtype = resolve_dtype(spec.dtype, quantization=spec.quantization)
    base = load_base_model(resolve_model(spec.model), quantization=spec.quantization, dtype=dtype)
    return get_peft_model(base, lora_config(spec.lora))


def _time_transformers(model: Any, spec: Any, prompts: Sequence[str]) -> Timed:
    """Time the engine of evaluations; training rollouts generate in the same way."""
    tokenizer = load_tokenizer(resolve_model(spec.model))
    engine = TransformersEngine(model, tokenizer, batch_size=len(prompts))

    def generate(num_tokens: int) -> int:
        decoding = Decoding(
            temperature=1.0, top_p=1.0, max_new_tokens=num_tokens, min_new_tokens=num_tokens
        )
        completions = engine.generate(prompts, decoding, seed=0)
        return sum(completion.num_tokens for completion in completions)

    return _time(generate, spec)


def _time(generate: Callable[[int], int], spec: Any) -> Timed:
    """Time the second call of a function that generates so many tokens for each prompt."""
    generate(2)
    started = time.monotonic()
    tokens = generate(spec.max_completion_tokens)
    return Timed(tokens, time.monotonic() - started)
