"""Decoding under a grammar: llguidance says which tokens may come next.

The control arm of training: would a grammar have done it? Each completion has a grammar of its
own. One that the engine cannot read, or that becomes too complex on the way, is named with its
reason, and the completion goes on freely; nothing is dropped.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from numpy.typing import NDArray
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from strictune.errors import TrialError

__all__ = ["GrammarProcessor", "Grammars", "engine_name", "full_grammar"]

THINK_CLOSING = "</think>"
"""The counterpart of ``prompting.THINK_OPENING``."""

# Thoughts end at the first closing tag, so that they hold nothing that looks like one.
_THINKING = """\
start: thought closing /\\n{{1,2}}/ answer
thought{limit}: /([^<]|<+[^<\\/])*/
closing: {closing}
"""
_POSITION = re.compile(r"^at \d+\(\d+\): ")


def engine_name() -> str:
    """Name the engine with its version, for the evaluation key."""
    return f"llguidance {version('llguidance')}"


def full_grammar(
    answer: str, tokenizer: PreTrainedTokenizerBase, *, thinking: bool, max_think_tokens: int
) -> str:
    """Return the grammar of a whole completion.

    Args:
        answer: The rule ``answer`` and those below it.
        tokenizer: Says whether the closing tag is a token of its own, which text cannot match.
        thinking: The prompt has opened a think block, which the completion closes first.
        max_think_tokens: The longest thought; 0 sets no limit.
    """
    if not thinking:
        return f"start: answer\n{answer}"
    ids = tokenizer.encode(THINK_CLOSING, add_special_tokens=False)
    closing = f'"{THINK_CLOSING}"' + (f" | <[{ids[0]}]>" if len(ids) == 1 else "")
    limit = f"[max_tokens={max_think_tokens}]" if max_think_tokens else ""
    return _THINKING.format(limit=limit, closing=closing) + answer


@dataclass(slots=True)
class _Row:
    """One completion of a batch."""

    grammar: str
    matcher: LLMatcher | None
    """None once it is decoded freely: it has ended, or its grammar cannot be kept to."""


class Grammars:
    """Compiles grammars for one tokenizer, and remembers which of them could not be kept to."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, vocabulary_size: int, stop_ids: Sequence[int]
    ) -> None:
        """Prepare the engine for a model.

        Args:
            tokenizer: The model's; a fast one.
            vocabulary_size: Logits that the model gives; at least the tokenizer's.
            stop_ids: Tokens that end a completion.

        Raises:
            TrialError: The engine cannot read the tokenizer.
        """
        try:
            self._tokenizer = from_tokenizer(
                tokenizer, n_vocab=vocabulary_size, eos_token=list(stop_ids)
            )
        except ValueError as error:
            raise TrialError(
                f"{engine_name()} cannot hold this model to a grammar, its tokenizer "
                f"{tokenizer.name_or_path!r} is of a kind that it does not read ({error}). "
                "Evaluate it without --constrain."
            ) from error
        self._stop_ids = frozenset(stop_ids)
        self.problems: dict[str, str] = {}
        """Why a grammar was not kept to, by its text."""

    def processor(self, grammars: Sequence[str]) -> "GrammarProcessor":
        """Return what holds a batch to its grammars, one for each completion."""
        compiled = {text: LLMatcher(self._tokenizer, text) for text in set(grammars)}
        for text, matcher in compiled.items():
            self._note(text, matcher)
        rows = [
            _Row(text, None if compiled[text].is_error() else compiled[text].deep_copy())
            for text in grammars
        ]
        return GrammarProcessor(rows, stop_ids=self._stop_ids, note=self._note)

    def _note(self, text: str, matcher: LLMatcher) -> None:
        if matcher.is_error():
            reason = matcher.get_error().strip().splitlines()[0]
            self.problems.setdefault(text, _POSITION.sub("", reason))


class GrammarProcessor(LogitsProcessor):  # type: ignore[misc]
    """Masks the tokens that no grammar allows next; transformers calls it once a token."""

    def __init__(
        self,
        rows: Sequence[_Row],
        *,
        stop_ids: Collection[int],
        note: Callable[[str, LLMatcher], None],
    ) -> None:
        self._rows = list(rows)
        self._stop_ids = stop_ids
        self._note = note
        self._is_first = True

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Mask: token ids (B, P + T), scores (B, V) -> scores (B, V)."""
        if not self._is_first:
            for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
                self._advance(row, token)
        self._is_first = False
        masks = [self._allowed(row, scores.shape[-1]) for row in self._rows]
        allowed = torch.from_numpy(np.stack(masks)).to(scores.device)  # (B, V)
        return scores.masked_fill(~allowed, float("-inf"))

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all completions but these, by their place in the batch."""
        self._rows = [self._rows[row] for row in rows]

    def _advance(self, row: _Row, token: int) -> None:
        if row.matcher is None:
            return
        if token in self._stop_ids:
            row.matcher = None
            return
        row.matcher.consume_token(token)
        self._give_up_on_error(row)

    def _allowed(self, row: _Row, num_scores: int) -> NDArray[np.bool_]:
        """Return which tokens may come next: (V,)."""
        if row.matcher is not None:
            packed = np.frombuffer(row.matcher.compute_bitmask(), dtype=np.uint8)
            self._give_up_on_error(row)
            if row.matcher is not None:
                return np.unpackbits(packed, bitorder="little")[:num_scores].astype(bool)
        return np.ones(num_scores, dtype=bool)

    def _give_up_on_error(self, row: _Row) -> None:
        if row.matcher is not None and row.matcher.is_error():
            self._note(row.grammar, row.matcher)
            row.matcher = None
