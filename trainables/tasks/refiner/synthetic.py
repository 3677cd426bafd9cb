"""Small made-up rows whose rubrics follow from their facts, for tests and small policies.

A row asks for one or two properties of a made-up place. Its evidence states them, next to the same
properties of other places (wrong-entity traps) and other properties of the same place. Some rows
lack the answer; a good answer then says so. The kind of place and the set of properties make up the
row's source, and a hash of the source alone decides its split, so that no source crosses splits
under any seed or size. Ids are slugs of the text's topic, such as ``Marel-colour``: a policy of a
million parameters can write them from the question, but cannot learn in minutes to look up
arbitrary ids. Rows of files may have any ids.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, cycle, islice
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from trainables.tasks.refiner.prompts import ABSTENTION, cited, gold_answer
from trainables.tasks.refiner.rows import RefinerRow, Rubric
from trainables.tasks.task import Split

__all__ = ["SyntheticRow", "draw_rows", "split_of_source"]

UNANSWERABLE_FRAC = 0.15
"""Share of rows whose evidence does not answer the question."""

_KINDS = (
    "bridge", "mine", "museum", "school", "market", "tower", "library", "ferry", "garden",
    "theatre", "harbour", "station",
)  # fmt: skip
_ONSETS = ("B", "D", "F", "G", "K", "L", "M", "N", "R", "S", "T", "V")
_ENDINGS = ("alen", "aro", "enna", "eth", "ilo", "imar", "olin", "ora", "ubel", "udis")
_COLOURS = ("red", "blue", "green", "white", "black", "grey")
_OWNERS = ("the city", "the state", "a family", "a bank", "a union", "a church")
_MATERIALS = ("stone", "wood", "brick", "steel", "glass", "clay")

_PROPERTIES: Mapping[str, Callable[[Random], str]] = MappingProxyType(
    {
        "colour": lambda rng: rng.choice(_COLOURS),
        "owner": lambda rng: rng.choice(_OWNERS),
        "material": lambda rng: rng.choice(_MATERIALS),
        "opening year": lambda rng: str(rng.randint(1801, 2020)),
        "height": lambda rng: f"{rng.randint(11, 98)} metres",
        "number of gates": lambda rng: str(rng.randint(2, 40)),
    }
)
_SHARES: tuple[Split, ...] = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2


class SyntheticRow(NamedTuple):
    """A row and a fully correct answer."""

    row: RefinerRow
    gold: str


class _Fact(NamedTuple):
    place: str
    name: str
    value: str

    @property
    def id(self) -> str:
        """The name of the place and the last word of the property."""
        _, place, _ = self.place.split()
        return f"{place}-{self.name.split()[-1]}"

    @property
    def text(self) -> str:
        return f"The {self.name} of {self.place} is {self.value}."


def draw_rows(split: Split, *, seed: int, num_rows: int) -> tuple[SyntheticRow, ...]:
    """Return rows of one split, determined by the seed; fewer rows are a prefix of more.

    The split's sources take turns, so that every prefix has as many of them as possible.
    """
    return tuple(islice(_rows(split, seed), num_rows))


def split_of_source(source: str) -> Split:
    """Return the split of a source: train for six in ten, validation and test for two each."""
    digest = hashlib.sha256(source.encode()).digest()
    return _SHARES[digest[0] % len(_SHARES)]


def _rows(split: Split, seed: int) -> Iterator[SyntheticRow]:
    rng = Random(f"refiner/{seed}/{split}")
    sources = [
        (kind, asked)
        for kind in _KINDS
        for num_asked in (1, 2)
        for asked in combinations(_PROPERTIES, num_asked)
        if split_of_source(_source(kind, asked)) == split
    ]
    rng.shuffle(sources)
    for number, (kind, asked) in enumerate(cycle(sources)):
        yield _draw_row(f"{split}-{number:05d}", kind, asked, rng)


def _source(kind: str, asked: Sequence[str]) -> str:
    return f"{kind}: {', '.join(asked)}"


def _draw_row(row_id: str, kind: str, asked: Sequence[str], rng: Random) -> SyntheticRow:
    names = rng.sample([onset + ending for onset in _ONSETS for ending in _ENDINGS], 2)
    place, rival = (f"the {name} {kind}" for name in names)
    right = [_Fact(place, name, _PROPERTIES[name](rng)) for name in asked]
    wrong = [_Fact(rival, fact.name, _other_value(fact, rng)) for fact in right]
    spare = rng.choice([name for name in _PROPERTIES if name not in asked])
    beside = _Fact(place, spare, _PROPERTIES[spare](rng))
    is_answerable = rng.random() >= UNANSWERABLE_FRAC
    facts = [*wrong, beside, *(right if is_answerable else [])]
    rng.shuffle(facts)
    evidence = {fact.id: fact.text for fact in facts}
    row = RefinerRow(
        id=row_id,
        question=_question(place, asked),
        evidence=evidence,
        rubrics=_rubrics(right if is_answerable else [], wrong, rival),
        reasoning=f"I looked up {place} and what is near it.",
        source=_source(kind, asked),
        is_answerable=is_answerable,
    )
    return SyntheticRow(row, _gold(row, right if is_answerable else []))


def _other_value(fact: _Fact, rng: Random) -> str:
    while (value := _PROPERTIES[fact.name](rng)) == fact.value:
        pass
    return value


def _question(place: str, asked: Sequence[str]) -> str:
    if len(asked) == 1:
        return f"What is the {asked[0]} of {place}?"
    return f"What are the {' and the '.join(asked)} of {place}?"


def _rubrics(right: Sequence[_Fact], wrong: Sequence[_Fact], rival: str) -> tuple[Rubric, ...]:
    """Return the rubrics that follow from the facts; quoted words must be in the answer."""
    positive = [
        Rubric(f"Right {fact.name}", f'Says that the {fact.name} is "{fact.value}".')
        for fact in right
    ] or [Rubric("Says what is missing", f'Says "{ABSTENTION}" and makes no claim.')]
    negative = [
        Rubric(
            f"Wrong {fact.name}", f'Says that the {fact.name} is "{fact.value}".', is_negative=True
        )
        for fact in wrong
    ]
    other = Rubric("Wrong place", f'Talks about "{rival}".', is_negative=True)
    return (*positive, *negative, other)


def _gold(row: RefinerRow, right: Sequence[_Fact]) -> str:
    if not right:
        return gold_answer(ABSTENTION)
    ids = {text: key for key, text in row.evidence.items()}
    return gold_answer(" ".join(cited(fact.text, [ids[fact.text]]) for fact in right))
