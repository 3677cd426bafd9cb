"""How much of a text is a loop: the same words over and over.

Words alone are compared, in the order in which they stand. Indentation, brackets and
other layout are no words, and the keys that the objects of an array share are told apart
by the values between them. Linear in the length of the text.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["MAX_LOOP", "MIN_LOOP", "longest_loop"]

MIN_LOOP = 12
"""Shorter loops are not looked for; the cheap tests before the search rely on it."""
MIN_REPEATS = 4
"""A unit must stand this often in a row to be a loop."""
MAX_LOOP = 120
"""The search ends here: a longer loop is no worse."""
MAX_WORD_CHARACTERS = 64
"""Longer words are looked into: a loop without spaces is one long word."""

_LAYOUT = str.maketrans(dict.fromkeys('[]{},:"', " "))
_INNER_LOOP = re.compile(r"(.{1,8}?)\1{11,}+")


def longest_loop(text: str) -> int:
    """Return the length of the longest loop in words; of one inside a word, in characters.

    The first standing of the unit is not counted: "a b a b a b a b" is a loop of 6.
    """
    words = text.translate(_LAYOUT).split()
    longest = 0
    if (
        len(words) - len(set(words)) >= MIN_LOOP
        and len(words) - len(set(pairwise(words))) >= MIN_LOOP
    ):
        longest = _longest_run(words)
    if words and max(map(len, words)) > MAX_WORD_CHARACTERS:
        longest = max(longest, *map(_longest_inner, words))
    return longest


def _longest_run(words: Sequence[str]) -> int:
    """Follow each repetition at the distance at which its first two words last stood."""
    last_seen: dict[tuple[str, str], int] = {}
    previous = ""
    distance = run = longest = 0
    for index, word in enumerate(words):
        pair = (previous, word)
        if distance and words[index - distance] == word:
            run += 1
            if run > longest and run >= distance * (MIN_REPEATS - 1):
                longest = run
                if longest > MAX_LOOP:
                    break
        else:
            distance = index - last_seen[pair] if pair in last_seen else 0
            run = 2 if distance else 0
        last_seen[pair] = index
        previous = word
    return longest


def _longest_inner(word: str) -> int:
    if len(word) <= MAX_WORD_CHARACTERS:
        return 0
    return max((match.end() - match.start() for match in _INNER_LOOP.finditer(word)), default=0)
