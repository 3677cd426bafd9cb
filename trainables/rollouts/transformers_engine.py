"""Generation with ``transformers``' own ``generate``: the engine that runs everywhere.

It serves evaluation. Training rollouts come from TRL's trainer, which calls the same
``generate``; both decode through ``completion``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from trainables.rollouts.completion import Completion, decode_completion, stop_token_ids
from trainables.rollouts.decoding import generate_batch

if TYPE_CHECKING:
    from trainables.rollouts.constraint import Grammars

__all__ = ["Decoding", "TransformersEngine"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How tokens are chosen."""

    temperature: float
    """0 is greedy."""
    top_p: float
    max_new_tokens: int
    min_new_tokens: int = 0
    """No completion ends before."""


class TransformersEngine:
    """Generates completions in left-padded batches, longest prompts first."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._stop_ids = stop_token_ids(tokenizer, model.generation_config)

    def generate(
        self,
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        seed: int,
        on_progress: Callable[[int, int], None] | None = None,
        grammars: Sequence[str] | None = None,
    ) -> list[Completion]:
        """Return one completion for each prompt, in input order.

        The same prompts, batch size, seed, device and thread count give the same text.

        Args:
            prompts: What is continued.
            decoding: How tokens are chosen.
            seed: Of the sampling.
            on_progress: Told after each batch how many of how many are done.
            grammars: What each completion is held to; ``grammar_problems`` says where that failed.
        """
        ids: list[list[int]] = self._tokenizer(list(prompts))["input_ids"]
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        completions: dict[int, Completion] = {}
        set_seed(seed)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            generated = self._generate_batch(
                [ids[index] for index in batch],
                decoding,
                grammars=None if grammars is None else [grammars[index] for index in batch],
            )
            completions.update(zip(batch, generated, strict=True))
            if on_progress is not None:
                on_progress(len(completions), len(order))
            logger.debug("generated %d of %d completions", len(completions), len(order))
        return [completions[index] for index in range(len(ids))]

    @property
    def grammar_problems(self) -> Mapping[str, str]:
        """Why completions were not held to a grammar, by its text."""
        return self._grammars.problems

    @cached_property
    def _grammars(self) -> "Grammars":
        # Here: free decoding can do without the engine of grammars.
        from trainables.rollouts.constraint import Grammars

        return Grammars(
            self._tokenizer,
            vocabulary_size=self._model.config.get_text_config().vocab_size,
            stop_ids=self._stop_ids,
        )

    def _generate_batch(
        self, ids: list[list[int]], decoding: Decoding, *, grammars: Sequence[str] | None
    ) -> list[Completion]:
        device = self._model.device
        # B = completions in the batch, P = padded prompt tokens, T = new tokens.
        padded = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding_side="left")
        inputs = {name: tensor.to(device) for name, tensor in padded.items()}  # (B, P)
        was_training = self._model.training
        self._model.eval()
        try:
            with torch.no_grad():
                output = generate_batch(
                    self._model,
                    inputs["input_ids"],
                    inputs["attention_mask"],
                    GenerationConfig(**self._generation_arguments(decoding)),
                    # Before temperature and nucleus: both act on what is left.
                    processor=self._grammars.processor(grammars) if grammars else None,
                )  # (B, P + T)
        finally:
            self._model.train(was_training)
        new_ids = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [decode_completion(self._tokenizer, row, stop_ids=self._stop_ids) for row in new_ids]

    def _generation_arguments(self, decoding: Decoding) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "max_new_tokens": decoding.max_new_tokens,
            "min_new_tokens": decoding.min_new_tokens,
            "pad_token_id": self._tokenizer.pad_token_id,
            "eos_token_id": list(self._stop_ids),
            "do_sample": decoding.temperature > 0,
            # The model brings no defaults of its own (load_base_model); transformers' is 50.
            "top_k": 0,
        }
        if decoding.temperature > 0:
            arguments |= {"temperature": decoding.temperature, "top_p": decoding.top_p}
        return arguments
