"""One completion, taken apart once: think block, fences, candidate document, outside text.

Everything downstream (criteria, rewards, error classes) reads the ``Completion`` and never
the raw text again. Think blocks are recognised where the text outside the document
stands: a string of the answer that mentions ``<think>`` is part of the answer.
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
    """What one completion holds. Positions count in ``text``."""

    text: str
    """The completion, with the opening think tag put back where the prompt had written it."""
    offset: int
    """How many characters were put back; positions in the model's own text are lower by it."""
    thought: str | None
    """What stands inside the think block; None without a closed one."""
    is_think_open: bool
    """A think block was opened before the document and never closed."""
    form: Form
    is_closed: bool
    """The fence was closed; always true for bare text."""
    start: int
    """Where the candidate document starts."""
    end: int
    """Where its fence closes, or where the bare document or the text ends."""
    document: object
    """The candidate's value; None also where it does not parse."""
    error: str
    """Why the candidate does not parse; empty if it does."""
    error_at: int
    outside: str
    """All text but the document's fence and the first think block; empty if all white space."""
    outside_at: int
    """Where the first of it stands."""

    @property
    def has_candidate(self) -> bool:
        """Whether there is anything to read: an empty fence holds no candidate."""
        return self.form != "none" and self.start < self.end

    @property
    def is_read(self) -> bool:
        """Whether the candidate is an RFC 8259 document within the limits."""
        return self.form != "none" and not self.error

    @property
    def is_parsed(self) -> bool:
        """The criterion ``parsed``: a closed json fence holds one document."""
        return self.form == "json_fence" and self.is_closed and not self.error


class _Found(NamedTuple):
    """The candidate document and the span of text that it takes with its fence."""

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
    """Take a completion apart; never raises, in time linear in its length."""
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
    """Return where the spans first hold anything but white space."""
    for first, last in spans:
        rest = text[first:last].lstrip()
        if rest:
            return last - len(rest)
    return len(text)


def _find_candidate(text: str) -> tuple[_Blocks, _Found]:
    """Find the json fence, else another fence, else bare text, outside of think blocks."""
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
    """Return the first match that no think block covers, and the blocks before it."""
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
    """Read a fence's document; the fence closes at the first back-ticks behind it.

    The first back-ticks of all would end a document early whose strings quote a fence.
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
    """Take text without a bracket for a document only if all of it is one JSON value."""
    start = skip_whitespace(text, start)
    reading = read_document(text, start)
    end = reading.end
    if reading.error or skip_whitespace(text, end) < len(text):
        return _Found("none", True, start, start, start, start, Reading(None, start, "no_document"))
    return _Found("bare", True, start, start, end, end, reading)
