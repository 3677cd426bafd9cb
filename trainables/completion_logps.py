"""Log-probabilities of completions under the trained model, each prompt of a batch read once.

TRL computes every row whole: the prompt of a group as often as it has completions, and on a CPU
the output layer for the prompts' tokens too. Here the different prompts go through the model
alone, and the completions follow from a cache through which gradients flow back. Both give the
same numbers up to rounding.
"""

from typing import Any

import torch

from trainables.rollouts.decoding import different_rows, selectable_cache

__all__ = ["completion_logps"]

IGNORED = -100


def completion_logps(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, num_completion: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability and the entropy of each completion token: two of (B, T).

    Args:
        model: With TRL's fused head, in an adapter; without gradient checkpointing, which keeps
            no cache.
        input_ids: B prompts and completions, padded to P and T tokens: (B, P + T).
        attention_mask: 0 where ``input_ids`` is padding.
        num_completion: T.
    """
    num_prompt = input_ids.shape[1] - num_completion
    prompts, prompt_mask, place = different_rows(
        input_ids[:, :num_prompt], attention_mask[:, :num_prompt]
    )  # (U, P), (U, P), (B,)
    base = model.get_base_model()
    cache = selectable_cache(base)
    if cache is not None and num_prompt > 1:
        base.base_model(
            input_ids=prompts[:, :-1],
            attention_mask=prompt_mask[:, :-1],
            past_key_values=cache,
            use_cache=True,
        )
        cache.batch_select_indices(place)
        # The last token of a prompt is where the first of a completion is predicted.
        input_ids = input_ids[:, num_prompt - 1 :]  # (B, 1 + T)
    labels = input_ids.masked_fill(attention_mask[:, -input_ids.shape[1] :] == 0, IGNORED)
    labels[:, :-num_completion] = IGNORED
    found = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        past_key_values=cache,
        labels=labels,
        fused_lm_head=True,
    )
    return found.log_probs[:, -num_completion:], found.entropy[:, -num_completion:]
