"""A first guess at the memory of a trial, for machines and models where nothing was measured.

Counted from the architecture and the shapes of the batches, term by term, in bytes. A trial
holds its weights and its adapter all the time; beside them it generates, trains or evaluates,
one after the other, so the guess is what it always holds and the largest of the three. While
it generates it holds a plain copy of the weights as well, into which the adapter is merged.

Sources of the terms: QLoRA (https://arxiv.org/abs/2305.14314) for the four bits, and the
installed transformers, peft, trl and torch for what each keeps: a tensor counts for training
if some backward needs it. Left out are fragments of the allocator, which ``PEAK_MARGIN``
covers where a peak was measured and ``ESTIMATE_MARGIN`` where it was not.

The guess for a GPU has never been held against one; see ``platform/README.md`` for the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from strictune.config import ComputeDtype, TrialSpec
from trainables.memory.architecture import Architecture

__all__ = ["CONTEXT_GIB", "Estimate", "Workload", "estimate_memory", "workload_of"]

GIB = 2**30

CONTEXT_GIB = 0.5
"""The CUDA context of a process and its libraries. Assumed, not measured by us."""
LIBRARIES_GIB = 0.8
"""Python with torch, transformers, peft, trl and pandas loaded: resident memory on Linux."""

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""A weight in NF4 with double quantization: four bits, an 8-bit scale for each block of 64, and
a float32 scale for 256 of those (0.127 bits a weight together)."""
FLOAT32_BYTES = 4
INT64_BYTES = 8

ADAPTER_STATES = {"adafactor": 0.0, "sgd": 0.0}
"""Bytes of optimizer state for each adapter weight; two float32 moments unless named here."""
EIGHT_BIT_STATES = 2.0
"""Two moments of a byte each; bitsandbytes' scales for blocks of 256 are under 2% of that."""

LOGITS_TILE_TOKENS = 4096
LOGITS_TILE_VOCAB = 32768
"""TRL scores tokens through its fused output layer tile by tile and never holds all logits
(``trl/kernels/chunked_logprob.py`` and ``_CHUNKED_LOGPROB_CHUNK_SIZE`` in TRL 1.16)."""
TORCH_TILE_COPIES = 8
"""Float32 copies of a tile alive at once in its backward where there is no Triton."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The sizes of a trial's batches at their worst lengths."""

    device: Literal["cuda", "cpu"]
    prompt_tokens: int
    micro_batch: int
    """Completions in one forward and backward pass."""
    rollout_batch: int
    """Completions that are generated together in training."""
    completion_tokens: int
    evaluation_batch: int
    evaluation_tokens: int
    is_quantized: bool
    float_bytes: int
    """Bytes of a number in the computation."""
    is_checkpointing: bool
    """Activations are recomputed in the backward pass."""
    is_sorting: bool
    """Sampling sorts the vocabulary (top_p below 1), in training or in evaluation."""
    attn_implementation: str | None = None
    """As the sweep file names it; None is what the device and the model lead to."""
    is_merged_copy: bool = True
    """Generation runs on a copy of the weights with the adapter merged in, not quantized."""
    vllm_gib: float = 0.0
    """What vLLM takes of the card in the trial's process."""
    is_vllm_sleeping: bool = False
    """It gives that back while the trial trains or evaluates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A first guess, in GiB."""

    terms: Mapping[str, float]
    """Always: weights, adapter, process. One at a time: rollout, training, evaluation."""
    copy_gib: float = 0.0
    """Held beside rollout and evaluation: the merged copy."""
    vllm_gib: float = 0.0
    """Held always, or in rollouts alone where vLLM sleeps: its part of the card."""
    is_vllm_sleeping: bool = False

    @property
    def peak_gib(self) -> float:
        """What is always held, and the largest of what comes one at a time."""
        always = self.terms["weights"] + self.terms["adapter"] + self.terms["process"]
        generating = self.copy_gib + max(self.terms["rollout"], self.terms["evaluation"])
        rest = max(self.terms["training"], generating)
        if self.is_vllm_sleeping:
            return always + max(rest, self.vllm_gib)
        return always + rest + self.vllm_gib


def workload_of(
    spec: TrialSpec,
    *,
    device: Literal["cuda", "cpu"],
    dtype: ComputeDtype,
    max_prompt_tokens: int,
    share_gib: float = 0.0,
) -> Workload:
    """Return the worst sizes of a trial; generation takes the longest prompt there may be.

    A gold completion is counted at the token limit, which most are far below.

    Args:
        spec: The trial.
        device: What it runs on.
        dtype: What it computes in.
        max_prompt_tokens: No prompt is longer.
        share_gib: Its share of the card, of which vLLM takes a part.
    """
    training = spec.optimization
    is_sampling = spec.method == "grpo"
    vllm = spec.rollouts.vllm_options
    is_vllm = is_sampling and spec.rollouts.engine == "vllm"
    return Workload(
        device=device,
        prompt_tokens=max_prompt_tokens,
        micro_batch=training.per_device_train_batch_size,
        # TRL generates for a whole optimizer step at once, with sft not at all, and vLLM does it
        # in memory of its own.
        rollout_batch=training.completions_per_step if is_sampling and not is_vllm else 0,
        completion_tokens=spec.max_completion_tokens,
        evaluation_batch=spec.evaluation.batch_size,
        evaluation_tokens=spec.max_evaluation_tokens,
        is_quantized=spec.quantization == "nf4",
        float_bytes=FLOAT32_BYTES if dtype == "float32" else 2,
        # On a CPU nothing is recomputed, see ``trainer_arguments``.
        is_checkpointing=training.gradient_checkpointing and device == "cuda",
        is_sorting=(is_sampling and spec.grpo.top_p < 1) or spec.evaluation.top_p < 1,
        attn_implementation=spec.attn_implementation,
        is_merged_copy=spec.rollouts.weights == "merged",
        vllm_gib=vllm.card_frac * share_gib if is_vllm else 0.0,
        is_vllm_sleeping=vllm.enable_sleep_mode,
    )


def estimate_memory(spec: TrialSpec, architecture: Architecture, workload: Workload) -> Estimate:
    """Guess the peak of one trial on a device of the workload's kind.

    A KL term adds nothing: its reference is the base with the adapter switched off, scored
    without gradients in the same micro-batches.
    """
    terms = {
        "weights": _weights(architecture, workload),
        "adapter": _adapter(spec, architecture),
        "process": (CONTEXT_GIB if workload.device == "cuda" else LIBRARIES_GIB) * GIB,
        "rollout": _generation(
            architecture, workload, workload.rollout_batch, workload.completion_tokens
        ),
        "training": _training(architecture, workload),
        "evaluation": _generation(
            architecture, workload, workload.evaluation_batch, workload.evaluation_tokens
        ),
    }
    num_params = architecture.num_linear_params + architecture.num_embedding_params
    return Estimate(
        terms={name: size / GIB for name, size in terms.items()},
        copy_gib=workload.is_merged_copy * num_params * workload.float_bytes / GIB,
        vllm_gib=workload.vllm_gib,
        is_vllm_sleeping=workload.is_vllm_sleeping,
    )


def _weights(architecture: Architecture, workload: Workload) -> float:
    """The base: linear modules in NF4 or in the compute type, the embeddings always in it.

    A four-bit module is unpacked while it computes, one at a time. Norms are too small to
    count.
    """
    embeddings = architecture.num_embedding_params * workload.float_bytes
    if not workload.is_quantized:
        return embeddings + architecture.num_linear_params * workload.float_bytes
    largest = max(inputs * outputs for inputs, outputs in architecture.linear_shapes.values())
    unpacked = largest * workload.float_bytes
    return embeddings + architecture.num_linear_params * NF4_BYTES + unpacked


def _adapter(spec: TrialSpec, architecture: Architecture) -> float:
    """LoRA's two matrices a module: weights and gradients in float32, optimizer states."""
    shapes = architecture.linear_shapes
    one_layer = sum(
        spec.lora.r * sum(shapes[name]) for name in spec.lora.target_modules if name in shapes
    )
    if "8bit" in spec.optimization.optim:
        states = EIGHT_BIT_STATES
    else:
        states = ADAPTER_STATES.get(spec.optimization.optim, 2 * FLOAT32_BYTES)
    return architecture.num_layers * one_layer * (2 * FLOAT32_BYTES + states)


def _training(architecture: Architecture, workload: Workload) -> float:
    """Activations kept for the backward pass, one layer's gradients, and a tile of logits.

    With gradient checkpointing a layer keeps its input alone, and one layer at a time has all
    of its activations.
    """
    # tokens = micro-batch x (prompt + completion)
    length = workload.prompt_tokens + workload.completion_tokens
    tokens = workload.micro_batch * length
    kept = tokens * _layer_activation(architecture, workload, length)
    gradients = tokens * _layer_gradient(architecture, workload, length)
    if workload.is_checkpointing:
        inputs = tokens * architecture.hidden * workload.float_bytes
        layers = architecture.num_layers * inputs + kept
    else:
        layers = architecture.num_layers * kept
    # The tile is there at the start of the backward, gradients of the layers only after it.
    return layers + max(gradients, _logits_tile(architecture, workload, tokens))


def _layer_activation(architecture: Architecture, workload: Workload, length: int) -> float:
    """Bytes a token that one layer keeps for its backward.

    Two norms keep their float32 input. LoRA's gradients need the inputs of its modules: both
    norms' outputs, the attention's output, and the feed-forward product. The activation and
    the product keep their factors: gate, activated gate, up. Attention keeps query, key,
    value (repeated for every query head) and, unfused, the scores in float32 and cast. The
    frozen base keeps nothing.
    """
    size = workload.float_bytes
    norms = 2 * architecture.hidden * (FLOAT32_BYTES + size)
    attention = 4 * architecture.query_width * size
    feed_forward = 4 * architecture.intermediate * size
    return norms + attention + feed_forward + _kept_scores(architecture, workload, length)


def _kept_scores(architecture: Architecture, workload: Workload, length: int) -> float:
    """Unfused attention's scores."""
    if not _is_eager(architecture, workload):
        return 0.0
    cast = workload.float_bytes if workload.float_bytes < FLOAT32_BYTES else 0
    return architecture.num_heads * length * (FLOAT32_BYTES + cast)


def _is_eager(architecture: Architecture, workload: Workload) -> bool:
    """Whether attention is not fused; ``models.load_base_model`` chooses so on a CPU."""
    if workload.attn_implementation is not None:
        return workload.attn_implementation == "eager"
    return workload.device == "cpu" or not architecture.has_sdpa


def _layer_gradient(architecture: Architecture, workload: Workload, length: int) -> float:
    """Bytes a token of the gradients alive inside one layer: twice what they are gradients of."""
    size = workload.float_bytes
    feed_forward = 3 * architecture.intermediate * size
    return max(feed_forward, 2 * _kept_scores(architecture, workload, length))


def _logits_tile(architecture: Architecture, workload: Workload, tokens: int) -> float:
    """One tile of logits, with its float32 copies where no Triton kernel folds it in place."""
    rows = min(tokens, LOGITS_TILE_TOKENS)
    columns = min(architecture.vocab, LOGITS_TILE_VOCAB)
    grad_hidden = tokens * architecture.hidden * FLOAT32_BYTES
    tile = rows * columns * workload.float_bytes
    if workload.device == "cpu":
        tile += rows * columns * FLOAT32_BYTES * TORCH_TILE_COPIES
    return grad_hidden + tile


def _generation(
    architecture: Architecture, workload: Workload, batch: int, new_tokens: int
) -> float:
    """The KV cache at its full length with one layer copied, or the pass over the prompts.

    Sampling holds the vocabulary's logits in float32 four times (read, processed,
    probabilities, drawn from), and sorted with their places where top_p is below 1.
    """
    length = workload.prompt_tokens + new_tokens
    layer_cache = 2 * architecture.kv_width * workload.float_bytes * batch * length
    # A cache grows by concatenation: the old and the new keys of a layer exist side by side,
    # and attention repeats them for every query head.
    repeated = 2 * architecture.query_width * workload.float_bytes * batch * length
    cache = (architecture.num_layers + 1) * layer_cache + repeated
    per_logit = 4 * FLOAT32_BYTES
    if workload.is_sorting:
        per_logit += 2 * FLOAT32_BYTES + INT64_BYTES
    sampling = batch * architecture.vocab * per_logit
    prefill = architecture.num_layers * layer_cache * workload.prompt_tokens / length
    prefill += batch * workload.prompt_tokens * _prefill_bytes(architecture, workload)
    return max(cache + sampling, prefill)


def _prefill_bytes(architecture: Architecture, workload: Workload) -> float:
    """Bytes a token that one layer needs at once, without gradients.

    Outside of autocast LoRA casts its input to float32. Unfused scores exist in the compute
    type, masked, and in float32.
    """
    feed_forward = architecture.intermediate * (3 * workload.float_bytes + FLOAT32_BYTES)
    if not _is_eager(architecture, workload):
        return feed_forward
    scores = architecture.num_heads * workload.prompt_tokens
    return max(feed_forward, scores * (2 * workload.float_bytes + FLOAT32_BYTES))
