"""A first guess at the memory of a trial, for machines and models where nothing was measured.

Counted from the architecture and the worst lengths of the batches, in bytes. A trial holds its
weights and its adapter all the time; beside them it trains, or generates on a plain copy of the
weights, into which the adapter is merged. Left out are fragments of the allocator, which
``PEAK_MARGIN`` covers where a peak was measured and ``ESTIMATE_MARGIN`` where it was not.

Sources of the terms: QLoRA (https://arxiv.org/abs/2305.14314) for the four bits, and the
installed transformers, peft, trl and torch for what each keeps.
"""

from dataclasses import dataclass
from typing import Literal

from strictune.config import ComputeDtype, TrialSpec
from trainables.devices import GIB
from trainables.memory.architecture import Architecture

__all__ = ["CONTEXT_GIB", "estimate_gib"]

CONTEXT_GIB = 0.5
"""The CUDA context of a process and its libraries. Assumed, not measured by us."""
LIBRARIES_GIB = 0.8
"""Python with torch, transformers, peft, trl and pandas loaded: resident memory on Linux."""
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""A weight in NF4 with double quantization: four bits, an 8-bit scale for each block of 64, and
a float32 scale for 256 of those (0.127 bits a weight together)."""
FLOAT32_BYTES = 4
SORTING_BYTES = 16
"""A logit in float32 again, twice, and its place, where sampling sorts the vocabulary."""

OPTIMIZER_BYTES = {"adafactor": 0.0, "sgd": 0.0}
"""Optimizer state for each adapter weight; two moments, of a byte or in float32, unless named."""

LOGITS_TILE_TOKENS = 4096
LOGITS_TILE_VOCAB = 32768
"""TRL scores tokens through its fused output layer tile by tile and never holds all logits
(``trl/kernels/chunked_logprob.py`` and ``_CHUNKED_LOGPROB_CHUNK_SIZE`` in TRL 1.16)."""
TORCH_TILE_COPIES = 8
"""Float32 copies of a tile alive at once in its backward where there is no Triton."""


def estimate_gib(
    spec: TrialSpec,
    architecture: Architecture,
    *,
    device: Literal["cuda", "cpu"],
    dtype: ComputeDtype,
    max_prompt_tokens: int,
) -> float:
    """Guess the peak of one trial, in GiB: that of the method that takes more.

    A KL term against the base adds nothing: its reference is the base with the adapter switched
    off, scored without gradients in the same micro-batches.

    Args:
        spec: The trial.
        architecture: Of its model.
        device: What it runs on.
        dtype: What it computes in.
        max_prompt_tokens: No prompt is longer.
    """
    number = FLOAT32_BYTES if dtype == "float32" else 2
    return max(
        _peak_gib(_Model(architecture, part, device, number), max_prompt_tokens)
        for part in spec.parts
    )


def _peak_gib(model: "_Model", max_prompt_tokens: int) -> float:
    spec = model.spec
    rest = model.training(max_prompt_tokens + spec.max_completion_tokens)
    if spec.rollouts.engine != "vllm":  # Whose server generates in memory of its own.
        rest = max(rest, _generating(model, max_prompt_tokens))
    held = (model.weights() + model.adapter() + rest) / GIB
    return held + (CONTEXT_GIB if model.device == "cuda" else LIBRARIES_GIB)


def _generating(model: "_Model", max_prompt_tokens: int) -> float:
    spec = model.spec
    is_sampling = spec.method == "grpo"
    batch = spec.grpo.completions_per_generation if is_sampling else 0
    sorts = (is_sampling and spec.grpo.top_p < 1) or spec.evaluation.top_p < 1
    return model.merged_copy() + max(
        model.generation(batch, max_prompt_tokens, spec.max_completion_tokens, sorts=sorts),
        model.generation(
            spec.evaluation.batch_size, max_prompt_tokens, spec.max_evaluation_tokens, sorts=sorts
        ),
    )


@dataclass(frozen=True, slots=True)
class _Model:
    """Bytes that the model of a trial takes."""

    architecture: Architecture
    spec: TrialSpec
    device: Literal["cuda", "cpu"]
    number: int
    """Bytes of a number in the computation."""

    def weights(self) -> float:
        """Linear modules in NF4 or in the compute type, the embeddings always in it.

        A four-bit module is unpacked while it computes, one at a time. Norms are too small to
        count.
        """
        sizes = self.architecture
        embeddings = sizes.num_embedding_params * self.number
        if self.spec.quantization != "nf4":
            return embeddings + sizes.num_linear_params * self.number
        largest = max(inputs * outputs for inputs, outputs in sizes.linear_shapes.values())
        return embeddings + sizes.num_linear_params * NF4_BYTES + largest * self.number

    def merged_copy(self) -> float:
        """What generation runs on: all weights with the adapter merged in, not quantized."""
        sizes = self.architecture
        is_merged = self.spec.rollouts.weights == "merged"
        return is_merged * (sizes.num_linear_params + sizes.num_embedding_params) * self.number

    def adapter(self) -> float:
        """LoRA's two matrices a module: weights and gradients in float32, optimizer states.

        A KL reference other than the base is the weights once more.
        """
        shapes, lora = self.architecture.linear_shapes, self.spec.lora
        adapted = [shapes[name] for name in lora.target_modules if name in shapes]
        optim = self.spec.optimization.optim
        moments = 2.0 if "8bit" in optim else 2.0 * FLOAT32_BYTES
        num_copies = 2 + (self.spec.method == "grpo" and self.spec.grpo.keeps_reference)
        each = num_copies * FLOAT32_BYTES + OPTIMIZER_BYTES.get(optim, moments)
        one_layer = lora.r * sum(map(sum, adapted))
        return self.architecture.num_layers * one_layer * each

    def training(self, length: int) -> float:
        """Activations kept for the backward pass, one layer's gradients, and a tile of logits.

        Two norms keep their float32 input; LoRA's gradients need the inputs of its modules;
        attention keeps query, key, value and, unfused, its scores; the feed-forward keeps its
        factors. With gradient checkpointing, on a GPU, a layer keeps its input alone, and one
        layer at a time has the rest.
        """
        sizes, training = self.architecture, self.spec.optimization
        tokens = training.per_device_train_batch_size * length
        scores = self._scores(length, FLOAT32_BYTES + (self.number if self.number < 4 else 0))
        kept = scores + 2 * sizes.hidden * (FLOAT32_BYTES + self.number)
        kept += 4 * (sizes.query_width + sizes.intermediate) * self.number
        gradients = max(3 * sizes.intermediate * self.number, 2 * scores)
        layers = sizes.num_layers * kept
        if training.gradient_checkpointing and self.device == "cuda":
            layers = sizes.num_layers * sizes.hidden * self.number + kept
        # The tile is there at the start of the backward, gradients of the layers only after it.
        return tokens * layers + max(tokens * gradients, self._logits_tile(tokens))

    def generation(self, batch: int, prompt: int, new_tokens: int, *, sorts: bool) -> float:
        """The KV cache at its full length with one layer copied, or the pass over the prompts.

        A cache grows by concatenation: the old and the new keys of a layer exist side by side,
        and attention repeats them for every query head. Sampling holds the vocabulary's logits in
        float32 four times: read, processed, probabilities, drawn from.
        """
        sizes, tokens = self.architecture, batch * (prompt + new_tokens)
        layer = 2 * sizes.kv_width * self.number
        cache = tokens * ((sizes.num_layers + 1) * layer + 2 * sizes.query_width * self.number)
        logits = batch * sizes.vocab * (4 * FLOAT32_BYTES + sorts * SORTING_BYTES)
        # Outside of autocast LoRA casts its input to float32, and unfused scores exist in the
        # compute type, masked, and in float32.
        one_layer = max(
            sizes.intermediate * (3 * self.number + FLOAT32_BYTES),
            self._scores(prompt, 2 * self.number + FLOAT32_BYTES),
        )
        return max(cache + logits, batch * prompt * (sizes.num_layers * layer + one_layer))

    def _scores(self, length: int, bytes_each: int) -> float:
        """Bytes a token of unfused attention's scores; ``load_base_model`` fuses none on a CPU."""
        chosen = self.spec.attn_implementation
        is_unfused = self.device == "cpu" or not self.architecture.has_sdpa
        if chosen == "eager" or (chosen is None and is_unfused):
            return self.architecture.num_heads * length * bytes_each
        return 0.0

    def _logits_tile(self, tokens: int) -> float:
        """One tile of logits, with its float32 copies where no Triton kernel folds it in place."""
        numbers = min(tokens, LOGITS_TILE_TOKENS) * min(self.architecture.vocab, LOGITS_TILE_VOCAB)
        copies = FLOAT32_BYTES * TORCH_TILE_COPIES if self.device == "cpu" else 0
        return tokens * self.architecture.hidden * FLOAT32_BYTES + numbers * (self.number + copies)
