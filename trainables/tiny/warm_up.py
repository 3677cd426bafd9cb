"""Supervised training of the tiny model from random weights.

Muon on the matrices and AdamW on the rest, warm-up and linear decay, batches of similar
length, loss on the completion only.
"""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainables.prompting import render_prompt
from trainables.tasks.task import Prompt
from trainables.tiny.examples import draw_example

__all__ = ["WarmUp", "new_model", "warm_up"]

logger = logging.getLogger(__name__)

IGNORED = -100
POOL = 1024
"""Examples that are drawn and sorted by length at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How long and how fast."""

    minutes: float
    sloppy_frac: float
    """Share of sloppy answers in the last part."""
    sloppy_from: float = 0.75
    """Where in the training that part starts."""
    tokens_per_batch: int = 8192
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    seed: int = 0


class _Batch(NamedTuple):
    input_ids: Tensor  # (B, T)
    attention_mask: Tensor  # (B, T)
    labels: Tensor  # (B, T), IGNORED outside the completion


class _Clock:
    def __init__(self, *, minutes: float) -> None:
        self._started = time.monotonic()
        self._duration_s = 60 * minutes

    @property
    def progress(self) -> float:
        """Share of the time that has passed."""
        return (time.monotonic() - self._started) / self._duration_s


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a Llama with random weights and at most 2.4M parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=464,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def warm_up(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    settings: WarmUp,
) -> dict[str, float]:
    """Train ``model`` in place for a fixed time and return what it took."""
    torch.manual_seed(settings.seed)
    matrices = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and "embed" not in name
    ]
    chosen = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    optimizers = [
        (torch.optim.Muon(matrices, lr=settings.muon_lr, weight_decay=0.0), settings.muon_lr),
        (torch.optim.AdamW(rest, lr=settings.adam_lr, weight_decay=0.0), settings.adam_lr),
    ]
    clock = _Clock(minutes=settings.minutes)
    num_steps = num_tokens = 0
    model.train()
    for batch in _batches(tokenizer, prompts, settings, clock):
        progress = clock.progress
        if progress >= 1:
            break
        rate = min(1.0, num_steps / 50, (1 - progress) / 0.7)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**batch._asdict()).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad()
        num_steps += 1
        num_tokens += int(batch.attention_mask.sum())
        if num_steps % 50 == 0:
            logger.info("step %d, %.0f%%, loss %.3f", num_steps, 100 * progress, loss.item())
    return {
        "minutes": clock.progress * settings.minutes,
        "steps": num_steps,
        "tokens": num_tokens,
    }


def _batches(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    settings: WarmUp,
    clock: _Clock,
) -> Iterator[_Batch]:
    rng = random.Random(settings.seed)
    while True:
        sloppy = settings.sloppy_frac if clock.progress >= settings.sloppy_from else 0.0
        pool = sorted(
            (_encode(tokenizer, rng.choice(prompts), rng, sloppy) for _ in range(POOL)),
            key=lambda pair: len(pair[0]),
        )
        groups: list[list[tuple[list[int], int]]] = [[]]
        for pair in pool:
            if len(pair[0]) * (len(groups[-1]) + 1) > settings.tokens_per_batch:
                groups.append([])
            groups[-1].append(pair)
        rng.shuffle(groups)
        yield from (_collate(tokenizer, group) for group in groups if group)


def _encode(
    tokenizer: PreTrainedTokenizerFast, prompt: Prompt, rng: random.Random, sloppy_frac: float
) -> tuple[list[int], int]:
    """Return the ids of prompt and completion, and how many belong to the prompt."""
    example = draw_example(prompt, rng, sloppy_frac=sloppy_frac)
    text, _ = render_prompt(tokenizer, example.messages, thinking=example.thinking)
    before = tokenizer(text)["input_ids"]
    after = tokenizer(example.completion + str(tokenizer.eos_token))["input_ids"]
    return before + after, len(before)


def _collate(tokenizer: PreTrainedTokenizerFast, group: list[tuple[list[int], int]]) -> _Batch:
    longest = max(len(ids) for ids, _ in group)
    input_ids = torch.full((len(group), longest), int(tokenizer.pad_token_id))
    labels = torch.full_like(input_ids, IGNORED)
    attention_mask = torch.zeros_like(input_ids)
    for row, (ids, num_prompt) in enumerate(group):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        labels[row, num_prompt : len(ids)] = torch.tensor(ids[num_prompt:])
        attention_mask[row, : len(ids)] = 1
    return _Batch(input_ids, attention_mask, labels)
