"""Measured costs of a trial, and the key under which they are kept.

Two trials of one shape cost the same but for what their models learn to say. So the key has the
sizes of batches, lengths and adapter and leaves out seeds, rates and weights; a search over
learning rates measures once. A model is known by its name and its ``config.json``: its weights may
differ, its memory does not.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from strictune.config import GrpoSpec, TrialSpec
from trainables.memory.architecture import config_file

__all__ = [
    "SHAPING_FIELDS",
    "Probe",
    "TrialCost",
    "package_version",
    "shape_digest",
    "shape_of",
    "trained_difficulties",
]

SHAPING_FIELDS = (
    "num_generations",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "num_iterations",
    "gradient_checkpointing",
)
"""The fields of ``grpo`` that shape a step; ``beta``, ``entropy_coef`` and ``top_p`` do by being
on or off, ``steps_per_generation`` by its batches."""

SFT_SHAPING_FIELDS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "gradient_checkpointing",
)

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one trial takes at its worst lengths."""

    device: str
    """Of ``provenance.device_name``."""
    gpu_gib: float | None
    """Peak of what was needed on the GPU, context included; None on a CPU."""
    gpu_size_gib: float | None
    """Memory of the whole GPU."""
    memory_gib: float
    """Peak of the process in main memory."""
    gpu_reserved_gib: float | None = None
    """What torch had reserved of the GPU at most, in the terms of ``gpu_gib``."""
    gpu_failed_gib: float | None = None
    """The largest share of the GPU in which the same work ran out of memory; None where the
    first that it was repeated in held it."""
    step_s: float
    """The second optimizer step; a mean where not every step generates or is of one method."""
    evaluation_s: float
    """One evaluation of the final split, from one batch of it."""
    prompt_tokens: int
    """The longest prompt of the training."""
    num_threads: int
    seconds: float
    """What the probe itself took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCost:
    """What one trial took, read from its records."""

    device: str
    curriculum: str
    num_threads: int
    gpus: float | None
    """Its share of a GPU; None where that was not recorded."""
    num_steps: int
    """Optimizer steps that were timed."""
    step_s: float
    """Median optimizer step; the mean where not every step generates. Of a trial of both methods,
    the mean of the two by their steps."""
    evaluation_s: float
    """All of its evaluations together."""
    other_s: float
    """The rest: loading, checkpoints, steps that a restart repeated."""
    gpu_gib: float | None
    """Peak of what was needed on the GPU, context included."""
    gpu_reserved_gib: float | None = None
    """What torch had reserved of it at most, in the same terms."""
    memory_gib: float | None
    """Peak of the process in main memory."""


def shape_of(spec: TrialSpec) -> Mapping[str, Any]:
    """Return the shape of a trial as plain data; reads the model's config, loads nothing."""
    return {
        "model": spec.model,
        "model_config": _config_hash(spec.model),
        "quantization": spec.quantization,
        "dtype": spec.dtype,
        **_chosen_attention(spec),
        "thinking": spec.thinking,
        "task": spec.task.identity(),
        "difficulties": list(trained_difficulties(spec)),
        "lora": {"r": spec.lora.r, "target_modules": sorted(spec.lora.target_modules)},
        "max_completion_tokens": spec.max_completion_tokens,
        "evaluation_batch": spec.evaluation.batch_size,
        "max_evaluation_tokens": spec.max_evaluation_tokens,
        "packages": {name: package_version(name) for name in PACKAGES},
        **(_sft_shape(spec) if "sft" in spec.methods else {}),
        **(_grpo_shape(spec) if "grpo" in spec.methods else {}),
        **spec.distributed.identity,
    }


def shape_digest(spec: TrialSpec) -> str:
    """Name a shape: 16 hexadecimal digits."""
    text = json.dumps(shape_of(spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def trained_difficulties(spec: TrialSpec) -> tuple[str, ...]:
    """Name the difficulties that some stage trains on; they decide the longest prompt."""
    every = dict.fromkeys(spec.task.difficulties, 1.0)
    mixes = [stage.mix if isinstance(stage.mix, dict) else every for stage in spec.stages]
    return tuple(sorted({name for mix in mixes for name, weight in mix.items() if weight > 0}))


def _grpo_shape(spec: TrialSpec) -> Mapping[str, Any]:
    grpo = spec.grpo
    return {
        "grpo": {name: getattr(grpo, name) for name in SHAPING_FIELDS},
        **_chosen_generation(grpo),
        "has_reference": grpo.beta > 0,
        **({"keeps_reference": True} if grpo.keeps_reference else {}),
        **({"resamples": True} if grpo.flat_groups == "resample" else {}),
        "has_entropy_bonus": grpo.entropy_coef > 0,
        "is_sorting": [grpo.top_p < 1, spec.evaluation.top_p < 1],
        "rollouts": _chosen_rollouts(spec),
    }


def _sft_shape(spec: TrialSpec) -> Mapping[str, Any]:
    return {
        "sft": {name: getattr(spec.sft, name) for name in SFT_SHAPING_FIELDS},
        **({"engine": "vllm"} if spec.rollouts.engine == "vllm" else {}),
        "is_sorting": [spec.evaluation.top_p < 1],
    }


def _chosen_attention(spec: TrialSpec) -> Mapping[str, Any]:
    """Return the attention where one is chosen: without a choice the key has no entry for it."""
    chosen = spec.attn_implementation
    return {} if chosen is None else {"attn_implementation": chosen}


def _chosen_generation(grpo: GrpoSpec) -> Mapping[str, Any]:
    batches = grpo.batches_per_generation
    return {} if batches == 1 else {"batches_per_generation": batches}


def _chosen_rollouts(spec: TrialSpec) -> Mapping[str, Any]:
    graphs = "continuous_batching"
    # A server takes nothing of a trial's memory, whatever its options.
    chosen = {**spec.rollouts.model_dump(mode="json"), "vllm": None}
    return {name: value for name, value in chosen.items() if name != graphs or value is not None}


def _config_hash(model: str) -> str | None:
    path = config_file(model)
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def package_version(name: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
