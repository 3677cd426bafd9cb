"""Splits text of any script into sentences; finds which state something, and which are equal.

In scripts without spaces, letters are counted, as the number of words that they roughly make. Thai
and Lao have no mark at the end of a sentence either, so there each phrase between two spaces counts
as a sentence, and uncited text costs more rather than less.
"""

import unicodedata
from collections.abc import Iterator

import regex

__all__ = ["normalized", "sentences_in", "states_something", "words"]

MIN_WORDS = 3
"""A sentence with fewer words states nothing ..."""
MIN_WORDS_WITH_NUMBER = 2
"""... unless it contains a number."""
MIN_CONNECTING_WORDS = 5
"""Text with fewer words that does not end a sentence only connects others."""

_KANA = r"\p{Hiragana}\p{Katakana}\u30fc"
# Complex context: Thai, Lao, Khmer, Burmese and others, as grouped for line breaking.
_SPACELESS = rf"\p{{Han}}{_KANA}\p{{Line_Break=Complex_Context}}"
_SPACED = rf"[\w--[{_SPACELESS}]]"
_QUESTION_MARKS = (
    r"?\u037e\u061f\u1367\u1945\u203d\u2047-\u2049\u2cfa\u2cfb\u2e2e\u2e54\ua60f\ua6f7\ufe16\ufe56"
    r"\uff1f\U00011143"
)
_MARKS = r"\p{Sentence_Terminal}\u0f0d"
# Letters of scripts without a mark at the end of a sentence.
_UNMARKED = r"[\p{Thai}\p{Lao}--\p{N}]"
_CLOSERS = r"[\p{Close_Punctuation}\p{Final_Punctuation}\"']"


def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.VERSION1)


_WORD = _compiled(r"\w+")
_NUMBER = _compiled(r"\d")
_WORD_SHARES = (
    (_compiled(r"\p{Han}"), 1.0),
    (_compiled(f"[{_KANA}]"), 0.5),
    (_compiled(r"[\p{Line_Break=Complex_Context}&&\p{L}]"), 0.25),
    (_compiled(f"{_SPACED}+"), 1.0),
    # Three words of English are about two of Russian, Korean or Arabic: no articles, no "is".
    (_compiled(rf"(?<!{_SPACED})[{_SPACED}--[\p{{Latin}}\p{{N}}_]]"), 0.5),
)
"""Letters and words, each with the number of English words that it counts for."""
# An ASCII mark ends a sentence only before white space (not in 3.5 or a.b) or before a script
# without spaces. Other marks always do, together with the closing marks after them.
_SENTENCE_END = _compiled(
    rf"(?<=[.!?])(?:\s+|(?=[{_SPACELESS}]))|\n+"
    rf"|(?!\uff0e\d)[{_MARKS}--[.!?]][{_MARKS}]*+{_CLOSERS}*+"
    rf"|(?<={_UNMARKED})\s+(?={_UNMARKED})"
)
_IS_SENTENCE = _compiled(rf"[{_MARKS}{_UNMARKED}]{_CLOSERS}*+$")
_NO_STATEMENT = _compiled(rf"[{_QUESTION_MARKS}:\uff1a]$")
# A semicolon is a question mark in Greek.
_CLOSING = rf"[[{_MARKS},:\u2026\u3001\u060c\u061b\s]--[{_QUESTION_MARKS}]]"
_CLOSING_MARKS = _compiled(rf"(?<![{_CLOSING};])(?:{_CLOSING}|(?<!\p{{Greek}});)++$")
_IDLE_SPACE = _compiled(rf" (?=[\p{{Han}}{_KANA}])|(?<=[\p{{Han}}{_KANA}]) ")
_UNSEEN = str.maketrans("", "", "\u00ad\u200b\u2060\ufeff")
"""Soft hyphens and zero-width spaces."""


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without signs and punctuation."""
    found: list[str] = _WORD.findall(text.casefold())
    return found


def normalized(text: str) -> str:
    """Return a normal form of a text, equal for texts that make the same statement.

    It ignores white space, case, the width of letters and the marks at the end. Nothing else is
    dropped or folded: two claims may differ only in a sign, a superscript or an accent.
    """
    folded = "".join(
        unicodedata.normalize("NFKC", sign) if unicodedata.east_asian_width(sign) in "FH" else sign
        for sign in text.translate(_UNSEEN)
    )
    # Not casefold, which makes German Masse and Maße equal.
    small = " ".join(unicodedata.normalize("NFC", folded).lower().split())
    return str(_CLOSING_MARKS.sub("", _IDLE_SPACE.sub("", small)))


def sentences_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the parts of a text that may be sentences, marks included."""
    position = 0
    for found in [*_SENTENCE_END.finditer(text), None]:
        end = len(text) if found is None else found.end()
        piece = text[position:end]
        start = position + len(piece) - len(piece.lstrip())
        if piece.strip():
            yield start, start + len(piece.strip())
        position = end


def states_something(sentence: str) -> bool:
    """Return whether a sentence, or text between claims, states a fact."""
    if _NO_STATEMENT.search(sentence):
        return False
    least = MIN_WORDS if _IS_SENTENCE.search(sentence) else MIN_CONNECTING_WORDS
    if _NUMBER.search(sentence):
        least = MIN_WORDS_WITH_NUMBER
    num_words = sum(len(found.findall(sentence)) * share for found, share in _WORD_SHARES)
    return num_words >= least
