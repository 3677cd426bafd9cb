"""The engines that a sweep file may name: the one that a trial trains with, and is measured by."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from trainables.context import TrialContext
from trainables.evaluation.measurement import Measurement
from trainables.rollouts.completion import Completion
from trainables.rollouts.continuous_batching import ContinuousBatchingRollouts
from trainables.rollouts.merged import load_for_generation
from trainables.rollouts.served_base import ServedBase
from trainables.rollouts.training_engine import TrainingEngine
from trainables.rollouts.transformers_engine import Decoding, TransformersEngine

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


def training_engine(context: TrialContext) -> TrainingEngine:
    """Return the engine of a trial's training rollouts."""
    spec, max_prompt_tokens = context.spec, context.task.max_prompt_tokens
    if spec.rollouts.engine == "vllm":
        # Imported here, as below: the memory probe needs no HTTP client.
        from trainables.rollouts.vllm_engine import VllmRollouts

        base = ServedBase(context.source, spec.quantization, context.dtype)
        return VllmRollouts(spec, max_prompt_tokens=max_prompt_tokens, base=base)
    is_continuous = spec.rollouts.engine == "continuous_batching"
    engine = ContinuousBatchingRollouts if is_continuous else TrainingEngine
    return engine(spec, max_prompt_tokens=max_prompt_tokens)


def evaluation_engine(
    measured: Measurement, tokenizer: PreTrainedTokenizerBase
) -> EvaluationEngine:
    """Return what generates for a measurement.

    Raises:
        TrialError: The base or the server cannot be used, or the adapter does not fit.
        TrialPaused: The server gave no answer.
    """
    if measured.engine == "vllm":
        from trainables.rollouts.vllm_engine import VllmEngine

        return VllmEngine(
            measured.rollouts.vllm_options,
            ServedBase(measured.model, measured.quantization, measured.dtype),
            tokenizer,
            adapter=None if measured.adapter is None else Path(measured.adapter.location),
            num_tokens=measured.num_tokens,
        )
    model = load_for_generation(
        measured.model,
        adapter=measured.adapter,
        quantization=measured.quantization,
        dtype=measured.dtype,
        attn_implementation=measured.attn_implementation,
        weights=measured.rollouts.weights,
    )
    return TransformersEngine(model, tokenizer, batch_size=measured.sampling.batch_size)
