"""Parses the answer of a completion: its block, its claims with ids, its uncited sentences.

Only text between ``<answer>`` and ``</answer>`` outside think blocks counts, and only if there is
exactly one such block: of two, it is unclear which one is meant. Positions are character offsets in
the completion as written.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainables.tasks.refiner.markup import Snippet, snippets_in
from trainables.tasks.refiner.prompts import ABSTENTION
from trainables.tasks.refiner.sentences import normalized, sentences_in, states_something, words

__all__ = ["Answer", "Claim", "Reading", "Sentence", "read_answer"]

_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"
_BLOCK = re.compile(r"<(/?)answer\s*>", re.IGNORECASE)


class Claim(NamedTuple):
    """A statement in snippet tags."""

    text: str
    ids: tuple[str, ...]
    """The ids that it cites, each once."""
    start: int
    end: int


class Sentence(NamedTuple):
    """A statement without a citation."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a completion."""

    body: str
    """The text as written, without the answer tags and surrounding white space; not empty."""
    start: int
    """The position of the body."""
    claims: tuple[Claim, ...]
    """Distinct claims; a repeated claim counts once, with the ids of all its occurrences."""
    uncited: tuple[Sentence, ...]
    """Distinct factual sentences outside the claims, and claims that name no id."""
    faults: tuple[str, ...]
    """Codes of the faults in its tags, in order; empty if there are none."""

    @property
    def abstains(self) -> bool:
        """Whether it says that the evidence is not enough, and nothing else."""
        return _abstains(self.body)

    @property
    def cited_ids(self) -> tuple[str, ...]:
        """Every id that a claim names, each once, in order."""
        return tuple(dict.fromkeys(cited for claim in self.claims for cited in claim.ids))


class Reading(NamedTuple):
    """The result of parsing a completion."""

    answer: Answer | None
    fault: str
    """Why there is no answer: ``no_answer``, ``unclosed_answer``, ``several_answers``,
    ``empty_answer``, ``unclosed_think``; empty if there is one."""
    position: int
    """The position of that fault, or of the body."""
    thought: str
    """The text of the think block."""


def read_answer(completion: str, *, think_prefilled: bool = False) -> Reading:
    """Parse a completion; never raises.

    Args:
        completion: The generated text.
        think_prefilled: Whether the prompt opened the think block.
    """
    thought, start = _think_block(completion, is_open=think_prefilled)
    if start < 0:
        return Reading(None, "unclosed_think", 0, thought)
    tags = [(bool(tag[1]), tag.start(), tag.end()) for tag in _BLOCK.finditer(completion, start)]
    fault = _block_fault([is_close for is_close, _, _ in tags])
    if fault:
        return Reading(None, fault, tags[0][1] if tags else start, thought)
    inner_start, inner_end = tags[0][2], tags[1][1]
    inner = completion[inner_start:inner_end]
    body = inner.strip()
    body_start = inner_start + len(inner) - len(inner.lstrip())
    markup = snippets_in(body)
    spans = [(snippet.start, snippet.end) for snippet in markup.snippets]
    spans += [(fault.start, fault.end) for fault in markup.faults]
    without_tags = _without_tags(body, spans)
    if not without_tags.strip() and not any(snippet.text.strip() for snippet in markup.snippets):
        return Reading(None, "empty_answer", tags[0][1], thought)
    claims = _claims(markup.snippets, offset=body_start)
    uncited = [*_anonymous(markup.snippets, body_start), *_statements(without_tags, body_start)]
    faults = [fault.reason for fault in markup.faults]
    faults += ["no_ids" for snippet in markup.snippets if not snippet.ids]
    faults += ["empty_claim" for snippet in markup.snippets if not snippet.text.strip()]
    answer = Answer(
        body=body,
        start=body_start,
        claims=claims,
        uncited=_distinct(uncited),
        faults=tuple(faults),
    )
    return Reading(answer, "", body_start, thought)


def _think_block(completion: str, *, is_open: bool) -> tuple[str, int]:
    """Return the thought and where the rest starts; -1 if the think block is not closed."""
    lead = len(completion) - len(completion.lstrip())
    opens_itself = completion.startswith(_THINK_OPEN, lead)
    if not opens_itself and not is_open:
        return "", 0
    first = lead + len(_THINK_OPEN) if opens_itself else 0
    closed = completion.find(_THINK_CLOSE, first)
    if closed < 0:
        return completion[first:].strip(), -1
    return completion[first:closed].strip(), closed + len(_THINK_CLOSE)


def _block_fault(closes: Sequence[bool]) -> str:
    """Return the fault of a sequence of answer tags, in which True is a closing tag."""
    if list(closes) == [False, True]:
        return ""
    num_opens = len(closes) - sum(closes)
    if not num_opens:
        return "no_answer"
    return "several_answers" if num_opens > 1 or sum(closes) > 1 else "unclosed_answer"


def _claims(snippets: Sequence[Snippet], *, offset: int) -> tuple[Claim, ...]:
    claims: dict[str, Claim] = {}
    for snippet in snippets:
        text = snippet.text.strip()
        if not snippet.ids or not text:
            continue
        key = normalized(text) or text
        first = claims.get(key)
        if first is None:
            claims[key] = Claim(text, snippet.ids, offset + snippet.start, offset + snippet.end)
        else:
            claims[key] = first._replace(ids=tuple(dict.fromkeys((*first.ids, *snippet.ids))))
    return tuple(claims.values())


def _anonymous(snippets: Sequence[Snippet], offset: int) -> Iterator[Sentence]:
    """Yield claims without ids as uncited sentences."""
    for snippet in snippets:
        if not snippet.ids and snippet.text.strip():
            bounds = (offset + snippet.text_start, offset + snippet.text_end)
            yield Sentence(snippet.text.strip(), *bounds)


def _without_tags(body: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace claims and stray tags by line ends, so that positions stay the same."""
    kept = list(body)
    for start, end in spans:
        kept[start:end] = "\n" * (end - start)
    return "".join(kept)


def _statements(text: str, offset: int) -> Iterator[Sentence]:
    """Yield the sentences outside the claims that state something."""
    for start, end in sentences_in(text):
        sentence = text[start:end]
        if states_something(sentence) and not _abstains(sentence):
            yield Sentence(sentence, offset + start, offset + end)


def _abstains(text: str) -> bool:
    return words(text) == words(ABSTENTION)


def _distinct(sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
    first: dict[str, Sentence] = {}
    for sentence in sorted(sentences, key=lambda found: found.start):
        first.setdefault(normalized(sentence.text) or sentence.text, sentence)
    return tuple(first.values())
