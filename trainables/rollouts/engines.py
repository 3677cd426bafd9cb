"""The engines that a sweep file may name: the one that a trial trains with, and is measured by."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from transformers import PreTrainedTokenizerBase

from strictune.config import Attention, ComputeDtype, RolloutsSpec, TrialSpec
from trainables.models import ModelSource
from trainables.rollouts.completion import Completion
from trainables.rollouts.continuous_batching import ContinuousBatchingRollouts
from trainables.rollouts.merged import load_for_generation
from trainables.rollouts.served_base import ServedBase
from trainables.rollouts.training_engine import TrainingEngine
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine
from trainables.rollouts.vllm_engine import VllmEngine, VllmRollouts

__all__ = ["EvaluationEngine", "evaluation_engine", "training_engine"]


class EvaluationEngine(Protocol):
    """Generates what is measured; see ``TransformersEngine``."""

    @property
    def grammar_problems(self) -> Mapping[str, str]:
        """Why completions were not held to a grammar, by its text."""

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        seed: int,
        on_progress: Callable[[int, int], None] | None = None,
        grammars: Sequence[str] | None = None,
    ) -> list[Completion]:
        """Return one completion for each prompt, in input order."""


def training_engine(
    spec: TrialSpec, *, source: ModelSource, dtype: ComputeDtype, max_prompt_tokens: int
) -> TrainingEngine:
    """Return the engine of a trial's training rollouts.

    Args:
        spec: The trial.
        source: Its model.
        dtype: What it computes in.
        max_prompt_tokens: No prompt is longer.
    """
    if spec.rollouts.engine == "vllm":
        base = ServedBase(source, spec.quantization, dtype)
        return VllmRollouts(spec, max_prompt_tokens=max_prompt_tokens, base=base)
    is_continuous = spec.rollouts.engine == "continuous_batching"
    engine = ContinuousBatchingRollouts if is_continuous else TrainingEngine
    return engine(spec, max_prompt_tokens=max_prompt_tokens)


def evaluation_engine(
    source: ModelSource,
    tokenizer: PreTrainedTokenizerBase,
    *,
    adapter: ModelSource | None,
    quantization: Literal["nf4", "none"],
    dtype: ComputeDtype,
    attn_implementation: Attention | None,
    rollouts: RolloutsSpec,
    engine: Literal["transformers", "vllm"],
    batch_size: int,
    num_tokens: int,
) -> EvaluationEngine:
    """Return what measures a model, ready to generate.

    Args:
        source: The base.
        tokenizer: Its tokenizer.
        adapter: What is on top of it.
        quantization: Of the base.
        dtype: Of the computation.
        attn_implementation: In this process; None is what model and device lead to.
        rollouts: The engines' options.
        engine: Which one.
        batch_size: Of generation in this process.
        num_tokens: Of the longest prompt with its completion.

    Raises:
        TrialError: The base or the server cannot be used, or the adapter does not fit.
        TrialPaused: The server gave no answer.
    """
    if engine == "vllm":
        return VllmEngine(
            rollouts.vllm_options,
            ServedBase(source, quantization, dtype),
            tokenizer,
            adapter=None if adapter is None else Path(adapter.location),
            num_tokens=num_tokens,
        )
    model = load_for_generation(
        source,
        adapter=adapter,
        quantization=quantization,
        dtype=dtype,
        attn_implementation=attn_implementation,
        weights=rollouts.weights,
    )
    return TransformersEngine(model, tokenizer, batch_size=batch_size)
