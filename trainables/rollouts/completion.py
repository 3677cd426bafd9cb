"""One generated text, and token ids to it, the same for every engine, training and evaluation."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

__all__ = ["Completion", "decode_completion", "stop_token_ids"]


class Completion(NamedTuple):
    """One generated text."""

    text: str
    num_tokens: int
    """Generated tokens, the ending one included."""
    is_truncated: bool
    """The token limit ended it, not the model."""
    plain: str | None = None
    """The text without special tokens; None where it is not known."""
    ids: Sequence[int] = ()
    """The tokens, the ending one included; empty where they are not known."""


def stop_token_ids(
    tokenizer: "PreTrainedTokenizerBase", generation_config: "GenerationConfig | None"
) -> tuple[int, ...]:
    """Return every token id that ends a completion: the tokenizer's and the model's."""
    declared = generation_config.eos_token_id if generation_config is not None else None
    ids = [declared] if isinstance(declared, int) else list(declared or [])
    if tokenizer.eos_token_id is not None:
        ids.append(int(tokenizer.eos_token_id))
    return tuple(sorted(set(ids)))


def decode_completion(
    tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], *, stop_ids: Collection[int]
) -> Completion:
    """Decode generated ids up to the first stop token, special tokens kept.

    A model that emits stray chat tokens must not have them removed before a strict scorer looks.
    Only the one token that ended the completion, and padding behind it, are no part of the text.
    """
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
