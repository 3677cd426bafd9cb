"""``transformers``' ``generate`` without its two wastes, for a batch of prompts.

A batch is generated in chunks of tokens, and completions that have ended leave it between two of
them, where ``generate`` alone computes them until the last one ends. Equal prompts, such as those
of a group, are read once. Both need a cache whose rows can be chosen; other models are given to
``generate`` as they are.
"""

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

__all__ = [
    "RowProcessor",
    "TokenLogps",
    "different_rows",
    "generate_batch",
    "selectable_cache",
]

CHUNK_TOKENS = 32
"""Of 16, 32 and 64 the one with the least CPU time by a little (builtin:tiny, 32 completions)."""


class RowProcessor(Protocol):
    """A logits processor that knows the rows of its batch."""

    def keep(self, rows: list[int]) -> None:
        """Forget all rows but these."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Process the scores of the rows that are left."""


class TokenLogps(LogitsProcessor):  # type: ignore[misc]
    """Records the log-probabilities of the tokens that are generated, changing no score.

    They are those of the softmax over all tokens at the sampling temperature, as TRL's loss
    computes them: what ``top_p`` leaves out of the sampling counts here.
    """

    def __init__(self, num_rows: int, *, temperature: float) -> None:
        self.rows: list[list[float]] = [[] for _ in range(num_rows)]
        """For each completion those of its tokens, and of what is padded behind them."""
        self._temperature = temperature
        self._scores: torch.Tensor | None = None
        self._found: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Read the last token's, and keep the scores that the next is sampled from: (B, V)."""
        self._read(input_ids[:, -1])
        self._scores = scores
        return scores

    def collect(self, last_ids: torch.Tensor, rows: Sequence[int]) -> None:
        """Read the last token's of a call of ``generate``, whose batch were these rows."""
        self._read(last_ids)
        self._scores = None
        for row, found in zip(rows, torch.stack(self._found, dim=1).tolist(), strict=True):
            self.rows[row].extend(found)
        self._found = []

    def _read(self, ids: torch.Tensor) -> None:
        if self._scores is not None:
            scaled = self._scores.float() / self._temperature  # (B, V)
            chosen = scaled.gather(1, ids[:, None])[:, 0]
            self._found.append(chosen - scaled.logsumexp(dim=1))


def generate_batch(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    generation_config: GenerationConfig,
    *,
    processor: RowProcessor | None = None,
    token_logps: TokenLogps | None = None,
) -> torch.Tensor:
    """Return prompts and completions: (B, P) -> (B, P + T), padded on the right.

    Args:
        model: What generates; in eval mode.
        input_ids: B prompts, padded on the left to P tokens.
        attention_mask: 0 where ``input_ids`` is padding.
        generation_config: Sampling, ``max_new_tokens``, ``eos_token_id`` and ``pad_token_id``.
        processor: Changes the scores of each row before sampling.
        token_logps: Records the log-probabilities of the completions' tokens.
    """
    processors = [each for each in (processor, token_logps) if each is not None]
    chosen = generation_config.cache_implementation
    cache = selectable_cache(model) if chosen is None else None
    if cache is None:
        written: torch.Tensor = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=generation_config,
            logits_processor=processors,
        )
        if token_logps is not None:
            token_logps.collect(written[:, -1], range(len(written)))
        return written
    _read_prompts(model, input_ids, attention_mask, generation_config, cache)
    num_prompt, limit = input_ids.shape[1], generation_config.max_new_tokens
    output = input_ids.new_full(
        (len(input_ids), num_prompt + limit), generation_config.pad_token_id
    )
    output[:, :num_prompt] = input_ids
    rows = torch.arange(len(input_ids), device=input_ids.device)
    while len(rows) and input_ids.shape[1] < output.shape[1]:
        start = input_ids.shape[1]
        # B = completions that go on, so B shrinks; S = tokens so far.
        input_ids = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=_chunk(generation_config, done=start - num_prompt),
            logits_processor=processors,
            past_key_values=cache,
        )  # (B, S)
        output[rows, start : input_ids.shape[1]] = input_ids[:, start:]
        if token_logps is not None:
            token_logps.collect(input_ids[:, -1], rows.tolist())
        attention_mask = torch.nn.functional.pad(
            attention_mask, (0, input_ids.shape[1] - start), value=1
        )
        going_on = ~_has_ended(input_ids[:, start:], generation_config)
        if not going_on.all():
            rows, input_ids, attention_mask = (
                tensor[going_on] for tensor in (rows, input_ids, attention_mask)
            )
            kept = going_on.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            if processor is not None:
                processor.keep(kept.tolist())
    return output


def selectable_cache(model: PreTrainedModel) -> DynamicCache | None:
    """Return an empty cache whose rows can be chosen, or None if the model takes no such."""
    if model.config.is_encoder_decoder:
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    by_row = {DynamicLayer, DynamicSlidingWindowLayer}
    return cache if {type(layer) for layer in cache.layers} <= by_row else None


def different_rows(
    input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the different ones of B rows, with their masks, and each row's place among them."""
    both = torch.cat([input_ids, attention_mask], dim=1)  # (B, 2 P)
    different, place = torch.unique(both, dim=0, return_inverse=True)  # (U, 2 P), (B,)
    return *different.chunk(2, dim=1), place


def _read_prompts(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    generation_config: GenerationConfig,
    cache: DynamicCache,
) -> None:
    """Fill the cache with all but the last token of each prompt, reading equal prompts once."""
    num_prompt = input_ids.shape[1]
    different, different_mask, place = different_rows(input_ids, attention_mask)  # (U, P), (B,)
    if len(different) == len(input_ids) or num_prompt == 1:
        return
    # ``generate`` knows each model's positions of padded prompts; the token it writes is left out.
    model.generate(
        input_ids=different[:, :-1],
        attention_mask=different_mask[:, :-1],
        generation_config=GenerationConfig(
            max_new_tokens=1, do_sample=False, pad_token_id=generation_config.pad_token_id
        ),
        past_key_values=cache,
    )
    cache.batch_select_indices(place)


def _chunk(generation_config: GenerationConfig, *, done: int) -> GenerationConfig:
    """Return the settings of the next tokens, of which ``done`` are there."""
    chunk = copy.copy(generation_config)
    chunk.max_new_tokens = min(CHUNK_TOKENS, generation_config.max_new_tokens - done)
    if generation_config.min_new_tokens is not None:
        chunk.min_new_tokens = max(0, min(chunk.max_new_tokens, chunk.min_new_tokens - done))
    return chunk


def _has_ended(new_ids: torch.Tensor, generation_config: GenerationConfig) -> torch.Tensor:
    """Return which rows hold an end token: (B, T) -> (B,)."""
    ends = generation_config.eos_token_id
    stop_ids = [ends] if isinstance(ends, int) else list(ends or [])
    return torch.isin(new_ids, torch.tensor(stop_ids, device=new_ids.device)).any(dim=1)
