"""One generated text and its length, whichever engine wrote it."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Completion"]


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
