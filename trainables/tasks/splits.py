"""Builds the prompts of three splits from a user's rows, and checks all rows first.

Families never cross splits. Validation or test rows that are not given are taken from the training
rows: families are ordered by a seeded hash, and each split gets its share of them.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from strictune.errors import SpecError
from trainables.tasks.data_files import Source, read_source
from trainables.tasks.jsonl import Row, shown
from trainables.tasks.task import SPLITS, OnProgress, Prompt, Split

__all__ = [
    "SplitSettings",
    "build_splits",
    "prompt_text",
    "read_prompts",
    "row_id",
    "text_family",
]

logger = logging.getLogger(__name__)

ROWS_PER_REPORT = 1000
MAX_PROMPT_CHARS = 1_000_000
MIN_FAMILIES = 2
"""The minimum for an evaluation split: intervals are clustered by family."""

_NUMBER = re.compile(r"\d[\d.,]*")
# Each alternative starts with a quote character, so that the engine can skip to one.
_QUOTED = re.compile(r"\"[^\"]*\"|\u201c[^\u201d]*\u201d|`[^`]*`|'(?<!\w')[^'\n]*'(?!\w)")


class SplitSettings(BaseModel):
    """How validation and test rows are split off the training rows if they are not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the families in the validation split."""
    test: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the families in the test split."""
    seed: int = 0
    """Seed of the assignment of families to splits."""
    leaks: Literal["refuse", "drop"] = "refuse"
    """What to do with a prompt that is in two splits: refuse the data, or drop it from all but the
    last of train, validation and test."""


def build_splits(
    sources: Mapping[Split, Source | None],
    settings: SplitSettings,
    make_prompt: Callable[[Row, Sequence[str]], Prompt],
    on_progress: OnProgress | None = None,
) -> Mapping[Split, tuple[Prompt, ...]]:
    """Read, check and split all rows.

    Args:
        sources: The data of each split; train is required.
        settings: How the missing splits are split off.
        make_prompt: Makes a prompt from a row and the names of all columns of its source.
        on_progress: Called with the number of checked rows of a source.

    Raises:
        SpecError: A source cannot be read, a row of it cannot be used, an evaluation split would
            be too small, or a prompt is in two splits.
    """
    places: dict[str, str] = {}
    given = {
        split: tuple(read_prompts(source, make_prompt, places, on_progress))
        for split, source in sources.items()
        if source is not None
    }
    splits = _split_off(given, settings, source=sources["train"])
    if settings.leaks == "drop":
        splits = _without_leaks(splits)
    _refuse_leaks(splits)
    return splits


def row_id(row: Row, column: str) -> str:
    """Return the id of a row, or its file and place if the column is missing."""
    given = row.values.get(column)
    if given is None:
        return "/".join(row.where.rsplit("/", 2)[-2:])
    if not isinstance(given, str | int) or isinstance(given, bool):
        raise SpecError(f"{row.where}: {column} = {shown(given)}, expected text or a number.")
    return str(given)


def prompt_text(row: Row, column: str) -> str:
    """Return the text of a row's prompt, which is text or chat messages.

    Raises:
        SpecError: It is neither, or longer than ``MAX_PROMPT_CHARS``.
    """
    if column not in row.values:
        raise SpecError(
            f"{row.where}: column {column!r} is missing, expected the prompt as text or chat "
            f"messages. Found {', '.join(row.values)}; name the right one in task.columns, e.g. "
            "{prompt: question}."
        )
    given: Any = row.values[column]
    if isinstance(given, str):
        text = row.text(column)
    elif not isinstance(given, list | tuple):
        raise SpecError(
            f"{row.where}: {column} = {shown(given)}, expected text or a list of chat messages."
        )
    else:
        text = "\n\n".join(message["content"] for message in row.messages(column))
    if len(text) > MAX_PROMPT_CHARS:
        raise SpecError(
            f"{row.where}: {column} holds {len(text):,} characters, expected at most "
            f"{MAX_PROMPT_CHARS:,}. Shorten it, or take the row out."
        )
    return text


def text_family(text: str) -> str:
    """Return a hash of a prompt without its numbers, quoted names, spacing and case: its family."""
    erased = _NUMBER.sub("0", _QUOTED.sub('""', text.casefold()))
    return hashlib.sha256(" ".join(erased.split()).encode()).hexdigest()[:16]


def read_prompts(
    source: Source,
    make_prompt: Callable[[Row, Sequence[str]], Prompt],
    places: dict[str, str],
    on_progress: OnProgress | None = None,
) -> Iterator[Prompt]:
    """Yield the prompts of a source.

    Args:
        source: The data.
        make_prompt: Makes a prompt from a row and the names of all columns of the source.
        places: Where each id was found so far; updated.
        on_progress: Called with the number of checked rows.

    Raises:
        SpecError: The source or a row of it cannot be used.
    """
    rows = list(read_source(source))
    if not rows:
        raise SpecError(f"{source}: holds no rows, expected at least one.")
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    for number, row in enumerate(rows, start=1):
        prompt = make_prompt(row, columns)
        if prompt.id in places:
            raise SpecError(
                f"{row.where}: id = {shown(prompt.id)} is already used in {places[prompt.id]}. "
                "Give each row an id of its own."
            )
        places[prompt.id] = row.where
        if on_progress is not None and (number % ROWS_PER_REPORT == 0 or number == len(rows)):
            on_progress(number, len(rows))
        yield prompt


def _split_off(
    given: Mapping[Split, tuple[Prompt, ...]], settings: SplitSettings, *, source: object
) -> dict[Split, tuple[Prompt, ...]]:
    """Move families of the training rows into the splits that are not given."""
    rows, missing = given["train"], [split for split in SPLITS if split not in given]
    families = sorted(
        {prompt.family for prompt in rows},
        key=lambda family: hashlib.sha256(f"{settings.seed}/{family}".encode()).digest(),
    )
    homes: dict[str, Split] = {}
    for split in missing:
        share = round(getattr(settings, split) * len(families))
        if share < MIN_FAMILIES:
            raise SpecError(
                f"{source}: {len(rows)} rows of {len(families)} families leave {share} for "
                f"{split}, expected {MIN_FAMILIES} or more. Prompts that differ only in numbers, "
                "quoted names, white space or case are one family: give more rows, or a column "
                "family that says which rows are alike. In a sweep file also raise "
                f"task.split.{split}, or name rows in task.{split}."
            )
        homes |= dict.fromkeys(families[len(homes) : len(homes) + share], split)
    dealt: dict[Split, list[Prompt]] = {split: [] for split in ("train", *missing)}
    for prompt in rows:
        dealt[homes.get(prompt.family, "train")].append(prompt)
    splits = {**given, **{split: tuple(prompts) for split, prompts in dealt.items()}}
    return {split: splits[split] for split in SPLITS}


def _without_leaks(splits: Mapping[Split, tuple[Prompt, ...]]) -> dict[Split, tuple[Prompt, ...]]:
    """Keep a prompt that is in several splits only in the last of them."""
    kept: dict[Split, tuple[Prompt, ...]] = {}
    later: set[str] = set()
    for split in reversed(SPLITS):
        kept[split] = tuple(prompt for prompt in splits[split] if _plain(prompt) not in later)
        later |= {_plain(prompt) for prompt in kept[split]}
        if num_dropped := len(splits[split]) - len(kept[split]):
            logger.info("dropped %d prompts of %s that are in a later split", num_dropped, split)
        if not kept[split]:
            raise SpecError(
                f"task.split.leaks = drop: all {len(splits[split])} prompts of {split} are in a "
                "later split too. Give it rows of its own."
            )
    return {split: kept[split] for split in SPLITS}


def _plain(prompt: Prompt) -> str:
    """Return the text that prompts are compared by, ignoring white space and case."""
    return " ".join(prompt.text.casefold().split())


def _refuse_leaks(splits: Mapping[Split, tuple[Prompt, ...]]) -> None:
    """Raise an error if two splits share a prompt, ignoring white space and case."""
    homes: dict[str, tuple[Split, str]] = {}
    leaks: dict[tuple[Split, Split], list[str]] = {}
    for split, prompts in splits.items():
        for prompt in prompts:
            home, first = homes.setdefault(_plain(prompt), (split, prompt.id))
            if home != split:
                leaks.setdefault((home, split), []).append(f"{prompt.id} as {first}")
    if leaks:
        found = "; ".join(
            f"{len(ids)} prompts of {split} are in {home} too, e.g. {ids[0]}"
            for (home, split), ids in leaks.items()
        )
        raise SpecError(
            f"task: {found}. A model is not evaluated on prompts it was trained on: remove them "
            "from one side, give them one family, or set task.split.leaks = drop."
        )
