"""Judges whether a think block is real: long enough, varied enough, and not copied filler."""

import re
from collections.abc import Sequence
from typing import Literal

__all__ = ["PLACEHOLDERS", "Placeholders", "ThinkVerdict", "judge_thought"]

PLACEHOLDERS = (
    "your reasoning here",
    "your thoughts here",
    "your thinking here",
    "your reasoning",
    "your thoughts",
    "reasoning here",
    "reasoning goes here",
    "thoughts go here",
    "thinking process here",
    "step-by-step reasoning",
    "step by step reasoning",
    "brief reasoning",
    "internal reasoning",
    "think step by step here",
    "insert reasoning",
)
"""Filler in prompts that shows where thoughts go; the thought without it must be real."""

MIN_CHARACTERS = 10
MIN_DISTINCT_WORDS = 3

ThinkVerdict = Literal["real", "too_little", "placeholder", "missing", "unclosed"]

# In languages without spaces each character counts as a word.
_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)


class Placeholders:
    """Phrases that do not count as thinking; letter case is ignored."""

    def __init__(self, phrases: Sequence[str]) -> None:
        """Compile the phrases; of two that overlap the longer one is removed."""
        self._phrases = tuple(phrase.lower() for phrase in phrases)
        longest_first = sorted(phrases, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def are_in(self, thought: str) -> bool:
        """Whether any phrase occurs."""
        lowered = thought.lower()
        return any(phrase in lowered for phrase in self._phrases)

    def remove_from(self, thought: str) -> str:
        """Return the thought without the phrases."""
        return self._pattern.sub(" ", thought) if self._phrases else thought


def judge_thought(
    thought: str | None, *, is_open: bool, placeholders: Placeholders
) -> ThinkVerdict:
    """Judge the text of a think block; None means that there is no closed block."""
    if thought is None:
        return "unclosed" if is_open else "missing"
    is_suspect = placeholders.are_in(thought)
    if not _is_real(thought):
        return "placeholder" if is_suspect or "..." in thought else "too_little"
    if is_suspect and not _is_real(placeholders.remove_from(thought)):
        return "placeholder"
    return "real"


def _is_real(thought: str) -> bool:
    if len(thought.strip()) < MIN_CHARACTERS:
        return False
    distinct: set[str] = set()
    for match in _WORD.finditer(thought):
        distinct.add(match.group().casefold())
        if len(distinct) >= MIN_DISTINCT_WORDS:
            return True
    return False
