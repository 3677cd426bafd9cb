"""``transformers``' ``generate`` without its wastes, for a batch of prompts.

A batch is generated in chunks of tokens, and completions that have ended leave it between two of
them, where ``generate`` alone computes them until the last one ends. Equal prompts, such as those
of a group, are read once. Both need a cache whose rows can be chosen; other models are given to
``generate`` as they are. The cache grows once in a chunk, where ``transformers``' is copied at each
token, and for ``top_p`` no vocabulary is sorted.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    PreTrainedModel,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from trainables.rollouts.constraint import GrammarProcessor

__all__ = ["TokenLogps", "different_rows", "generate_batch", "selectable_cache"]

CHUNK_TOKENS = 32
"""Of 16, 32 and 64 the one with the least CPU time by a little (builtin:tiny, 32 completions)."""

NUCLEUS_CANDIDATES = 256
"""The most probable tokens, among which nearly every nucleus ends."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer that keeps room for the tokens to come."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Begin with no token."""
        super().lazy_initialization(key_states, value_states)
        self._key_room = self.keys = key_states[..., :0, :]
        self._value_room = self.values = value_states[..., :0, :]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the states of new tokens, (B, H, T, D) each; return all, (B, H, S + T, D) each."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._key_room, self.keys = _append(self._key_room, self.keys, key_states)
        self._value_room, self.values = _append(self._value_room, self.values, value_states)
        return self.keys, self.values


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


class NucleusFilter(LogitsProcessor):  # type: ignore[misc]
    """Applies temperature and ``top_p`` as ``transformers`` does, looking at the likeliest tokens.

    To sort all scores at each token is a fifth of what SmolLM2-135M takes to generate on a CPU (48
    completions, 49,152 tokens).
    """

    def __init__(self, *, temperature: float, top_p: float) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._by_sorting = TopPLogitsWarper(top_p)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave the tokens of each row's nucleus, divided by the temperature: (B, V) -> (B, V)."""
        scores = scores / self._temperature
        candidates, ids = scores.topk(min(NUCLEUS_CANDIDATES, scores.shape[1]))  # (B, K)
        probabilities = (candidates - scores.logsumexp(dim=1, keepdim=True)).exp()
        # A token belongs to the nucleus where those before it have not filled it.
        is_kept = probabilities.cumsum(dim=1) - probabilities < self._top_p
        left = torch.full_like(scores, -torch.inf)
        left.scatter_(1, ids, candidates.masked_fill(~is_kept, -torch.inf))
        goes_on = is_kept[:, -1]
        if goes_on.any():
            left[goes_on] = self._by_sorting(input_ids[goes_on], scores[goes_on])
        return left


def generate_batch(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    generation_config: GenerationConfig,
    *,
    processor: "GrammarProcessor | None" = None,
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
    if _samples_from_nucleus(generation_config):
        nucleus = NucleusFilter(
            temperature=generation_config.temperature, top_p=generation_config.top_p
        )
        processors.append(nucleus)
        generation_config = copy.copy(generation_config)
        generation_config.temperature = generation_config.top_p = 1.0
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
    if not {type(layer) for layer in cache.layers} <= by_row:
        return None
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def different_rows(
    input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the different ones of B rows, with their masks, and each row's place among them."""
    both = torch.cat([input_ids, attention_mask], dim=1)  # (B, 2 P)
    different, place = torch.unique(both, dim=0, return_inverse=True)  # (U, 2 P), (B,)
    return *different.chunk(2, dim=1), place


def _append(
    room: torch.Tensor, held: torch.Tensor, new: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write ``new`` behind ``held``, which ``room`` begins with unless rows were chosen since."""
    length, total = held.shape[-2], held.shape[-2] + new.shape[-2]
    if room.data_ptr() != held.data_ptr() or room.shape[-2] < total:
        room = new.new_empty(*new.shape[:-2], total + CHUNK_TOKENS, new.shape[-1])
        room[..., :length, :] = held
    room[..., length:total, :] = new
    return room, room[..., :total, :]


def _samples_from_nucleus(generation_config: GenerationConfig) -> bool:
    """Return whether ``top_p`` acts, and on what the temperature alone has changed."""
    top_p = generation_config.top_p
    return bool(
        generation_config.do_sample and top_p and top_p < 1 and generation_config.top_k == 0
    )


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
