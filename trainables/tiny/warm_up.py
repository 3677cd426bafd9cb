"""Supervised training of the tiny model from random weights.

Muon on the matrices and AdamW on the rest, warm-up and linear decay, batches of similar
length, loss on the completion only.
"""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainables.prompting import render_prompt
from trainables.tasks.task import Prompt
from trainables.tiny.examples import Example, draw_example

__all__ = ["DrawExample", "WarmUp", "new_model", "warm_up"]

logger = logging.getLogger(__name__)

IGNORED = -100
POOL = 1024
"""Examples that are drawn and sorted by length at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How long and how fast."""

    num_steps: int
    sloppy_frac: float
    """Share of sloppy answers in the last part."""
    sloppy_from: float
    """Where in the training that part starts."""
    peak: float = 1.0
    """Factor on both learning rates."""
    tokens_per_batch: int = 8192
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    seed: int = 0


class DrawExample(Protocol):
    """Draws supervised examples."""

    def __call__(self, prompt: Prompt, rng: random.Random, *, sloppy_frac: float) -> Example:
        """Put a prompt to the model with an answer, a share of them with a flaw."""


class _Batch(NamedTuple):
    input_ids: Tensor  # (B, T)
    attention_mask: Tensor  # (B, T)
    labels: Tensor  # (B, T), IGNORED outside the completion


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a Llama with random weights and 1.4M parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
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
    *,
    draw: DrawExample = draw_example,
) -> dict[str, float]:
    """Train ``model`` in place and return the minutes and tokens that it took.

    Args:
        model: To be trained.
        tokenizer: The model's.
        prompts: What is asked.
        settings: How long and how fast.
        draw: Puts one prompt to the model, with its answer.
    """
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
    started = time.monotonic()
    num_tokens = 0
    model.train()
    for step, batch in enumerate(_batches(tokenizer, prompts, settings, draw)):
        left = 1 - step / settings.num_steps
        rate = settings.peak * min(1.0, step / 50, left / 0.7)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**batch._asdict()).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad()
        num_tokens += int(batch.attention_mask.sum())
        if step % 50 == 0:
            logger.info("step %d of %d, loss %.3f", step, settings.num_steps, loss.item())
    return {"minutes": (time.monotonic() - started) / 60, "tokens": num_tokens}


def _batches(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    settings: WarmUp,
    draw: DrawExample,
) -> Iterator[_Batch]:
    """Yield ``num_steps`` batches, the last part of them with sloppy answers among them."""
    rng = random.Random(settings.seed)
    left = settings.num_steps
    while left > 0:
        is_late = left <= settings.num_steps * (1 - settings.sloppy_from)
        sloppy_frac = settings.sloppy_frac if is_late else 0.0
        pool = sorted(
            (
                _encode(tokenizer, draw(rng.choice(prompts), rng, sloppy_frac=sloppy_frac))
                for _ in range(POOL)
            ),
            key=lambda pair: len(pair[0]),
        )
        groups: list[list[tuple[list[int], int]]] = [[]]
        for pair in pool:
            if len(pair[0]) * (len(groups[-1]) + 1) > settings.tokens_per_batch:
                groups.append([])
            groups[-1].append(pair)
        rng.shuffle(groups)
        groups = groups[:left]
        left -= len(groups)
        yield from (_collate(tokenizer, group) for group in groups)


def _encode(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[list[int], int]:
    """Return the ids of prompt and completion, and how many belong to the prompt."""
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
