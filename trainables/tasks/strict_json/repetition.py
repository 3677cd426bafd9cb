"""Measures loops in an answer, and its largest container.

Only words are compared, in their order. Indentation, brackets and other layout are ignored, and the
values between the repeated keys of an array's objects keep them from counting as loops. Elements
that differ are not a loop however many there are, and could hide a loop if they were inserted into
it; therefore the largest container is measured as well. Time is linear in the length of the text.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["MAX_LOOP", "MIN_LOOP", "length_of_loops", "most_elements"]

MIN_LOOP = 12
"""Shorter loops do not count; the quick tests before the search rely on it."""
MIN_REPEATS = 4
"""A unit must occur this often in a row to be a loop."""
MAX_LOOP = 120
"""The search stops here: longer loops are not penalized further."""
MAX_WORD_CHARACTERS = 64
"""Longer words are searched for loops: a loop without spaces is one long word."""

_LAYOUT = str.maketrans(dict.fromkeys('[]{},:"', " "))
_INNER_LOOP = re.compile(r"(.{1,8}?)\1{11,}+")


def length_of_loops(text: str) -> int:
    """Count the words in loops; for a loop inside one word, the characters.

    The first occurrence of the unit does not count: "a b a b a b a b" is a loop of 6.
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
    """Return the number of elements in the largest container of a document."""
    most = 0
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            most = max(most, len(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return most


def _num_looped(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> int:
    """Follow each repetition at the distance of the last occurrence of its first two words."""
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
