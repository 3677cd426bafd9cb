"""The snippet tags of evidence and answers: ``<snippet id=ID1,ID2>text</snippet>``.

An opening tag pairs with the next tag if that is a closing one; all other tags (nested, unclosed,
stray) are faults and enclose nothing. So a ``<`` inside a text is text, and no word belongs to two
snippets. Takes time linear in the length.
"""

import re
from typing import NamedTuple

__all__ = ["Markup", "Snippet", "TagFault", "snippets_in", "split_ids"]

# A tag contains neither "<" nor ">", so an unclosed tag ends at the next "<".
_TAG = re.compile(r"<(/?)\s*snippet\b([^<>]*)>", re.IGNORECASE)
_ID = re.compile(r"\s*\bid\s*=\s*(.*)", re.IGNORECASE | re.DOTALL)
_QUOTES = "\"'"


class Snippet(NamedTuple):
    """A text in snippet tags, and the ids that it cites."""

    text: str
    ids: tuple[str, ...]
    """Each id once, in the order of the tag; empty if there are none."""
    start: int
    """Where the opening tag starts."""
    text_start: int
    text_end: int
    end: int
    """Where the closing tag ends."""


class TagFault(NamedTuple):
    """A tag that encloses nothing."""

    reason: str
    """``unclosed_snippet`` or ``stray_close``."""
    start: int
    end: int


class Markup(NamedTuple):
    """The tags of a text."""

    snippets: tuple[Snippet, ...]
    faults: tuple[TagFault, ...]


def snippets_in(text: str) -> Markup:
    """Return the snippets of a text and its faulty tags, each in order."""
    snippets: list[Snippet] = []
    faults: list[TagFault] = []
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        is_close = bool(tag[1])
        if opened is not None and is_close:
            inner = text[opened.end() : tag.start()]
            ids = split_ids(opened[2])
            bounds = (opened.start(), opened.end(), tag.start(), tag.end())
            snippets.append(Snippet(inner, ids, *bounds))
            opened = None
            continue
        if opened is not None:
            faults.append(TagFault("unclosed_snippet", opened.start(), opened.end()))
        opened = None if is_close else tag
        if is_close:
            faults.append(TagFault("stray_close", tag.start(), tag.end()))
    if opened is not None:
        faults.append(TagFault("unclosed_snippet", opened.start(), opened.end()))
    return Markup(tuple(snippets), tuple(faults))


def split_ids(attributes: str) -> tuple[str, ...]:
    """Return the ids of an opening tag: split on commas, stripped of spaces and quotes."""
    found = _ID.match(attributes)
    if found is None:
        return ()
    parts = (part.strip().strip(_QUOTES).strip() for part in found[1].split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
