"""Generated token ids to the text that is scored, the same for training and evaluation.

Special tokens stay visible: a model that emits stray chat tokens must not have them
removed before a strict scorer looks. Only the one end-of-sequence token that ended the
completion, and padding behind it, are not part of the text.
"""

from collections.abc import Collection, Sequence

from transformers import GenerationConfig, PreTrainedTokenizerBase

from trainables.rollouts.completion import Completion

__all__ = ["decode_completion", "stop_token_ids"]


def stop_token_ids(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None
) -> tuple[int, ...]:
    """Return every token id that ends a completion: the tokenizer's and the model's."""
    declared = generation_config.eos_token_id if generation_config is not None else None
    ids = [declared] if isinstance(declared, int) else list(declared or [])
    if tokenizer.eos_token_id is not None:
        ids.append(int(tokenizer.eos_token_id))
    return tuple(sorted(set(ids)))


def decode_completion(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, stop_ids: Collection[int]
) -> Completion:
    """Decode generated ids up to the first stop token, special tokens kept."""
    end = next((index for index, token in enumerate(ids) if token in stop_ids), None)
    kept = list(ids) if end is None else list(ids[:end])
    ids_read = list(ids) if end is None else list(ids[: end + 1])
    text = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Completion(
        text=str(text),
        num_tokens=len(kept) + (end is not None),
        is_truncated=end is None,
        plain=str(tokenizer.decode(ids_read, skip_special_tokens=True)),
        ids=ids_read,
    )
