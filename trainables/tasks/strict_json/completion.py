"""Parses a completion once: think block, fences, candidate document, outside text.

Criteria, rewards and error classes read the ``Completion`` and never the raw text. Think blocks
are recognised only outside the document: a string of the answer that mentions ``<think>`` is part
of the answer.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from trainables.tasks.strict_json.reading import Reading, read_document, skip_whitespace

__all__ = ["THINK_CLOSE", "THINK_OPEN", "Completion", "Form", "parse_completion"]

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

Form = Literal["json_fence", "other_fence", "bare", "none"]
"""Where the candidate document was found."""

_JSON_FENCE = re.compile(r"```[jJ][sS][oO][nN](?![\w+.-])")
_ANY_FENCE = re.compile(r"```(?:[\w+#.-]*+(?=[ \t]*\r?\n))?")
_BRACKET = re.compile(r"[\[{]")


class Completion(NamedTuple):
    """The parts of one completion. Positions are character offsets in ``text``."""

    text: str
    """The completion, with the opening think tag restored if the prompt contained it."""
    offset: int
    """The number of restored characters; subtract it for positions in the model's output."""
    thought: str | None
    """The text inside the think block; None without a closed block."""
    is_think_open: bool
    """Whether a think block was opened before the document and never closed."""
    form: Form
    is_closed: bool
    """Whether the fence was closed; always true for bare text."""
    start: int
    """Where the candidate document starts."""
    end: int
    """Where its fence closes, or where the bare document or the text ends."""
    document: object
    """The candidate's value; None also if it does not parse."""
    error: str
    """Why the candidate does not parse; empty if it does."""
    error_at: int
    outside: str
    """All text except the document's fence and the first think block; empty if only white space."""
    outside_at: int
    """The position of its first character that is not white space."""

    @property
    def has_candidate(self) -> bool:
        """Whether there is anything to parse: an empty fence holds no candidate."""
        return self.form != "none" and self.start < self.end

    @property
    def is_read(self) -> bool:
        """Whether the candidate is an RFC 8259 document within the limits."""
        return self.form != "none" and not self.error

    @property
    def is_parsed(self) -> bool:
        """Whether the criterion ``parsed`` holds: a closed json fence holds one document."""
        return self.form == "json_fence" and self.is_closed and not self.error


class _Found(NamedTuple):
    """The candidate document, and the span of text that it takes up with its fence."""

    form: Form
    is_closed: bool
    first: int
    start: int
    end: int
    last: int
    reading: Reading


class _Blocks(NamedTuple):
    """The closed think blocks before the document."""

    first: tuple[int, int] | None
    """The span of the first block, tags included."""
    last: int
    """Where the last block ends; 0 without one."""
    is_open: bool


_NO_BLOCKS = _Blocks(None, 0, False)


def parse_completion(completion: str, *, think_prefilled: bool) -> Completion:
    """Parse a completion; never raises, and takes time linear in its length."""
    text = f"{THINK_OPEN}\n{completion}" if think_prefilled else completion
    blocks, found = _find_candidate(text)
    block = blocks.first
    if block is None:
        thought = None
        spans = [(0, found.first), (found.last, len(text))]
    else:
        thought = text[block[0] + len(THINK_OPEN) : block[1] - len(THINK_CLOSE)]
        spans = [(0, block[0]), (block[1], found.first), (found.last, len(text))]
    outside = "".join([text[first:last] for first, last in spans])
    if not outside or outside.isspace():
        outside, outside_at = "", 0
    else:
        outside_at = _first_visible(text, spans)
    return Completion(
        text,
        len(text) - len(completion),
        thought,
        blocks.is_open,
        found.form,
        found.is_closed,
        found.start,
        found.end,
        found.reading.document,
        found.reading.error,
        found.reading.end,
        outside,
        outside_at,
    )


def _first_visible(text: str, spans: Sequence[tuple[int, int]]) -> int:
    """Return the position of the first character in the spans that is not white space."""
    for first, last in spans:
        rest = text[first:last].lstrip()
        if rest:
            return last - len(rest)
    return len(text)


def _find_candidate(text: str) -> tuple[_Blocks, _Found]:
    """Find the json fence, else another fence, else bare text, outside think blocks."""
    if "```" in text:
        blocks, match = _search_outside_thinking(_JSON_FENCE, text)
        if match is not None:
            return blocks, _read_fence(text, match, form="json_fence")
        blocks, match = _search_outside_thinking(_ANY_FENCE, text)
        if match is not None:
            return blocks, _read_fence(text, match, form="other_fence")
    blocks, match = _search_outside_thinking(_BRACKET, text)
    if match is not None:
        return blocks, _read_bare(text, match.start())
    return blocks, _read_scalar(text, blocks.last)


def _search_outside_thinking(
    pattern: re.Pattern[str], text: str
) -> tuple[_Blocks, re.Match[str] | None]:
    """Return the first match outside think blocks, and the blocks before it."""
    match = pattern.search(text)
    opened = text.find(THINK_OPEN)
    if opened < 0:
        return _NO_BLOCKS, match
    first: tuple[int, int] | None = None
    last = 0
    while opened >= 0 and (match is None or opened < match.start()):
        closed = text.find(THINK_CLOSE, opened + len(THINK_OPEN))
        if closed < 0:
            return _Blocks(first, last, True), match
        last = closed + len(THINK_CLOSE)
        first = first or (opened, last)
        if match is not None and match.start() < last:
            match = pattern.search(text, last)
        opened = text.find(THINK_OPEN, last)
    return _Blocks(first, last, False), match


def _read_fence(text: str, match: re.Match[str], *, form: Form) -> _Found:
    """Read a fence's document; the fence closes at the first back-ticks after it.

    Searching from the opening fence would cut off documents whose strings quote a fence.
    """
    start = skip_whitespace(text, match.end())
    if text.startswith("```", start):
        reading = Reading(None, start, "parse_empty")
    else:
        reading = read_document(text, start)
    closing = skip_whitespace(text, reading.end)
    if not text.startswith("```", closing):
        if not reading.error and closing < len(text):
            reading = Reading(None, closing, "parse_extra_data")
        closing = text.find("```", closing)
    if closing < 0:
        end = last = len(text)
    else:
        end, last = closing, closing + 3
    return _Found(form, closing >= 0, match.start(), start, end, last, reading)


def _read_bare(text: str, start: int) -> _Found:
    reading = read_document(text, start)
    end = len(text) if reading.error else reading.end
    return _Found("bare", True, start, start, end, end, reading)


def _read_scalar(text: str, start: int) -> _Found:
    """Accept text without a bracket as a document only if all of it is one JSON value."""
    start = skip_whitespace(text, start)
    reading = read_document(text, start)
    end = reading.end
    if reading.error or skip_whitespace(text, end) < len(text):
        return _Found("none", True, start, start, start, start, Reading(None, start, "no_document"))
    return _Found("bare", True, start, start, end, end, reading)
