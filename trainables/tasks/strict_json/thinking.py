"""Whether a think block is real: long enough, varied enough, and not copied filler."""

import re
from collections.abc import Sequence
from typing import Literal

__all__ = ["PLACEHOLDERS", "ThinkVerdict", "compile_placeholders", "judge_thought"]

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
"""Filler that prompts use to show where thoughts go; what is left without it must be real."""

MIN_CHARACTERS = 10
MIN_DISTINCT_WORDS = 3

ThinkVerdict = Literal["real", "too_little", "placeholder", "missing", "unclosed"]

# Languages without spaces: each character stands for a word.
_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)


def compile_placeholders(placeholders: Sequence[str]) -> re.Pattern[str]:
    """Make one pattern of all placeholders, the longest first."""
    longest_first = sorted(placeholders, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)


def judge_thought(
    thought: str | None, *, is_open: bool, placeholders: re.Pattern[str]
) -> ThinkVerdict:
    """Judge what stands inside the think block; None is a completion without a closed one."""
    if thought is None:
        return "unclosed" if is_open else "missing"
    if not _is_real(thought):
        return "placeholder" if placeholders.search(thought) or "..." in thought else "too_little"
    remaining = placeholders.sub(" ", thought)
    return "real" if remaining == thought or _is_real(remaining) else "placeholder"


def _is_real(thought: str) -> bool:
    if len(thought.strip()) < MIN_CHARACTERS:
        return False
    distinct: set[str] = set()
    for match in _WORD.finditer(thought):
        distinct.add(match.group().casefold())
        if len(distinct) >= MIN_DISTINCT_WORDS:
            return True
    return False
