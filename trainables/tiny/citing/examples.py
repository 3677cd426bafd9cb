"""Supervised examples for the tiny model that cites: gold answers, and answers with one flaw."""

import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from trainables.tasks.refiner.data import ROW_COLUMN
from trainables.tasks.refiner.prompts import ABSTENTION, cited, gold_answer, row_messages
from trainables.tasks.refiner.rows import RefinerRow, row_from_column
from trainables.tasks.task import Prompt
from trainables.tiny.examples import Example

__all__ = ["FLAWS", "draw_citing_example"]

_REMARKS = (
    "Many people like it a lot.",
    "It is well known in the whole town.",
    "There is more to say about this place.",
)
_SNIPPET = re.compile(r"<snippet id=([\w-]+)>(.*?)</snippet>")
_ABOUT = ("colour", "owner", "material", "year", "height", "gates")


def draw_citing_example(prompt: Prompt, rng: random.Random, *, sloppy_frac: float) -> Example:
    """Put a row to the model with its gold answer; a share of ``sloppy_frac`` gets one flaw."""
    row = row_from_column(prompt.columns[ROW_COLUMN])
    assert prompt.gold is not None
    answer = prompt.gold
    if rng.random() < sloppy_frac:
        name = rng.choice(list(FLAWS) if row.is_answerable else _FLAWS_OF_ABSTENTIONS)
        answer = FLAWS[name](answer, row, rng)
    return Example(row_messages(row), False, answer)


def _without_answer_tags(answer: str, row: RefinerRow, rng: random.Random) -> str:
    return answer.removeprefix("<answer>").removesuffix("</answer>")


def _unclosed_snippet(answer: str, row: RefinerRow, rng: random.Random) -> str:
    return answer.replace("</snippet>", "", 1)


def _padding(answer: str, row: RefinerRow, rng: random.Random) -> str:
    return answer.replace("</answer>", f" {rng.choice(_REMARKS)}</answer>")


def _no_citation(answer: str, row: RefinerRow, rng: random.Random) -> str:
    return _SNIPPET.sub(lambda found: found[2], answer)


def _wrong_source(answer: str, row: RefinerRow, rng: random.Random) -> str:
    others = {key: [other for other in row.evidence if other != key] for key in row.evidence}
    return _SNIPPET.sub(lambda found: cited(found[2], [rng.choice(others[found[1]])]), answer)


def _invented_id(answer: str, row: RefinerRow, rng: random.Random) -> str:
    places = {key.partition("-")[0] for key in row.evidence}
    named = [f"{place}-{about}" for place in sorted(places) for about in _ABOUT]
    unknown = [key for key in named if key not in row.evidence]
    return _SNIPPET.sub(lambda found: cited(found[2], [rng.choice(unknown)]), answer)


def _needless_id(answer: str, row: RefinerRow, rng: random.Random) -> str:
    others = {key: [other for other in row.evidence if other != key] for key in row.evidence}
    return _SNIPPET.sub(
        lambda found: cited(found[2], [found[1], rng.choice(others[found[1]])]), answer
    )


def _fact_not_asked(answer: str, row: RefinerRow, rng: random.Random) -> str:
    key = rng.choice([key for key, text in row.evidence.items() if text not in answer])
    fact = cited(row.evidence[key], [key])
    if answer == gold_answer(ABSTENTION):
        return gold_answer(fact)
    return answer.replace("</answer>", f" {fact}</answer>")


FLAWS: Mapping[str, Callable[[str, RefinerRow, random.Random], str]] = MappingProxyType(
    {
        "no answer tags": _without_answer_tags,
        "an unclosed snippet": _unclosed_snippet,
        "padding": _padding,
        "no citation": _no_citation,
        "a wrong source": _wrong_source,
        "an invented id": _invented_id,
        "a needless id": _needless_id,
        "a fact that was not asked for": _fact_not_asked,
    }
)
"""What can be wrong with an answer."""
_FLAWS_OF_ABSTENTIONS = ("no answer tags", "padding", "a fact that was not asked for")
