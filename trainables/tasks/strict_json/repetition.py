"""How much of an answer is a loop, or runs on where nobody asked for more.

Words alone are compared, in the order in which they stand. Indentation, brackets and
other layout are no words, and the keys that the objects of an array share are told apart
by the values between them. Elements that differ are no loop however many there are, and
put into the middle of one they would hide it: hence the largest container is measured as
well. Linear in the length of the text.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["MAX_LOOP", "MIN_LOOP", "length_of_loops", "most_elements"]

MIN_LOOP = 12
"""Shorter loops do not count; the cheap tests before the search rely on it."""
MIN_REPEATS = 4
"""A unit must stand this often in a row to be a loop."""
MAX_LOOP = 120
"""The search ends here: a longer loop is no worse."""
MAX_WORD_CHARACTERS = 64
"""Longer words are looked into: a loop without spaces is one long word."""

_LAYOUT = str.maketrans(dict.fromkeys('[]{},:"', " "))
_INNER_LOOP = re.compile(r"(.{1,8}?)\1{11,}+")


def length_of_loops(text: str) -> int:
    """Count the words in loops; of a loop inside one word, the characters.

    The first standing of the unit is not counted: "a b a b a b a b" is a loop of 6.
    """
    words = text.translate(_LAYOUT).split()
    distinct = set(words)
    length = 0
    if len(words) - len(distinct) >= MIN_LOOP:
        pairs = list(pairwise(words))
        if len(words) - len(set(pairs)) >= MIN_LOOP:
            length = _num_looped(words, pairs)
    if words and max(map(len, distinct)) > MAX_WORD_CHARACTERS:
        length = max(length, *map(_longest_inner, words))
    return length


def most_elements(document: object) -> int:
    """Return the number of elements of a document's largest container."""
    most = 0
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            most = max(most, len(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return most


def _num_looped(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> int:
    """Follow each repetition at the distance at which its first two words last stood."""
    last_seen: dict[tuple[str, str], int] = {}
    distance = run = looped = 0
    for index, pair in enumerate(pairs, start=1):
        if distance and words[index - distance] == pair[1]:
            run += 1
            if looped + run > MAX_LOOP and run >= distance * (MIN_REPEATS - 1):
                break
        else:
            looped += run if run >= distance * (MIN_REPEATS - 1) else 0
            distance = index - last_seen.get(pair, index)
            run = 2 if distance else 0
        last_seen[pair] = index
    return looped + (run if run >= distance * (MIN_REPEATS - 1) else 0)


def _longest_inner(word: str) -> int:
    if len(word) <= MAX_WORD_CHARACTERS:
        return 0
    return max((match.end() - match.start() for match in _INNER_LOOP.finditer(word)), default=0)
