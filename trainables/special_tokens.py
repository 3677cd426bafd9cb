"""Special tokens: which ones a model's files name, and which ones its tokenizer adds to a text.

Of a model's ``generation_config.json`` the ids of special tokens are all that counts. The rest
are defaults for chatting (``min_p``, ``stop_strings``, ``min_new_tokens``, ...), and transformers
fills every setting that a caller leaves open from them: in evaluations, and in TRL's rollouts.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from strictune.errors import TrialError

__all__ = [
    "GENERATION_FILE",
    "added_tokens",
    "append_nothing",
    "model_file",
    "name_end_and_padding",
    "neutral_generation_config",
]

GENERATION_FILE = "generation_config.json"
DECLARING_FILES = (GENERATION_FILE, "config.json")


class AddedTokens(NamedTuple):
    """Ids that a tokenizer adds to a text."""

    before: list[int]
    after: list[int]


def model_file(location: str, name: str) -> Path | None:
    """Return one of a model's files, from its folder or its hub repository; None if it lacks it."""
    found = cached_file(
        location,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def neutral_generation_config(location: str) -> GenerationConfig:
    """Return a model's generation config with its special tokens alone."""
    own = next(iter(_declarations(location)), {})
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: own.get(name) for name in names})


def name_end_and_padding(tokenizer: PreTrainedTokenizerBase, location: str) -> None:
    """Give a tokenizer an end-of-sequence and a padding token that its model knows.

    What the tokenizer does not name, ``generation_config.json`` or ``config.json`` may; without a
    padding token, the end of sequence pads.

    Raises:
        TrialError: Nothing names an end-of-sequence token.
    """
    declarations = list(_declarations(location))
    config = declarations[-1] if declarations else {}
    vocabulary_size = config.get("vocab_size") or len(tokenizer)
    if any(token_id >= vocabulary_size for token_id in _ids(config.get("pad_token_id"))):
        raise TrialError(
            f"model {tokenizer.name_or_path!r}: config.json has pad_token_id = "
            f"{config['pad_token_id']}, expected below vocab_size = {vocabulary_size}. Remove it."
        )

    def usable(name: str) -> str | None:
        declared = [getattr(tokenizer, name), *(document.get(name) for document in declarations)]
        ids = [token_id for value in declared for token_id in _ids(value)]
        known = (token_id for token_id in ids if 0 <= token_id < vocabulary_size)
        return next(filter(None, map(tokenizer.convert_ids_to_tokens, known)), None)

    end = usable("eos_token_id")
    if end is None:
        raise TrialError(
            f"model {tokenizer.name_or_path!r} names no end-of-sequence token of its vocabulary, "
            "so no completion would end: tokenizer_config.json has no eos_token, and "
            f"{' and '.join(DECLARING_FILES)} no eos_token_id. Add the one that ends its answers."
        )
    padding = usable("pad_token_id") or end
    if tokenizer.eos_token != end:
        tokenizer.eos_token = end
    if tokenizer.pad_token != padding:
        tokenizer.pad_token = padding


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> AddedTokens:
    """Return what a tokenizer adds to every text."""
    mask = tokenizer("a", return_special_tokens_mask=True)
    ids, is_added = mask["input_ids"], mask["special_tokens_mask"]
    num_before = is_added.index(0) if 0 in is_added else len(ids)
    num_after = is_added[::-1].index(0) if 0 in is_added else 0
    return AddedTokens(ids[:num_before], ids[len(ids) - num_after :])


def append_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    """Keep a tokenizer from ending every text, and from beginning one more than once.

    A prompt that ends with the end of sequence is a finished text: the model has nothing to add.

    Raises:
        TrialError: It is a tokenizer in Python, which decides that in code of its own.
    """
    before, after = added_tokens(tokenizer)
    once = list(dict.fromkeys(before))
    if not after and once == before:
        return
    if not tokenizer.is_fast:
        raise TrialError(
            f"the tokenizer of {tokenizer.name_or_path!r} puts "
            f"{tokenizer.convert_ids_to_tokens(before)} in front of every text and "
            f"{tokenizer.convert_ids_to_tokens(after)} behind it; prompts need an open end and one "
            "beginning. Set add_eos_token to false in tokenizer_config.json, or save it as a "
            "tokenizer.json without that."
        )
    front = {"id": "front", "ids": once, "tokens": tokenizer.convert_ids_to_tokens(once)}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="front $A" if once else "$A",
        pair="front $A $B:1" if once else "$A $B:1",
        special_tokens=[front] if once else [],
    )


def _declarations(location: str) -> Iterator[Mapping[str, Any]]:
    """Yield the documents that name special tokens, the one that generation reads first."""
    for name in DECLARING_FILES:
        path = model_file(location, name)
        if path is None:
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrialError(f"model {location!r}: {name} is not JSON ({error}).") from error
        yield {**document.get("text_config", {}), **document}


def _ids(declared: Any) -> list[int]:
    """Return token ids that a file gives alone, as a list, or not at all."""
    return [declared] if isinstance(declared, int) else list(declared or [])
