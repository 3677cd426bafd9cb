"""The splits of strict_json: prompts generated from the grammar, determined by the seed.

The hash of a family's skeleton alone decides its split, so no skeleton crosses splits under any
seed or size. Evaluation families have four prompts each, from one shape; training draws a new shape
for every prompt. A smaller set is a prefix of a larger one, and every prefix is balanced over the
difficulties.

Generating thousands of prompts takes seconds, in every process of a sweep; ``kept_split`` does it
once for each version of this folder's code.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from strictune.cache import writable_cache_folder
from strictune.errors import StorageError
from strictune.records import write_text
from trainables.tasks.strict_json.gold import gold_text
from trainables.tasks.strict_json.measure import (
    DIFFICULTIES,
    Difficulty,
    constructs_of,
    difficulty_of,
    measure,
)
from trainables.tasks.strict_json.rendering import render
from trainables.tasks.strict_json.schemas import realize
from trainables.tasks.strict_json.shapes import Container, draw_shape
from trainables.tasks.strict_json.skeleton import family_of
from trainables.tasks.task import SPLITS, Prompt, Split, code_hash

__all__ = [
    "PROMPTS_PER_FAMILY",
    "build_split",
    "build_splits",
    "kept_split",
    "prompt_row",
    "split_of",
]

PROMPTS_PER_FAMILY = 4
"""Number of prompts in each evaluation family."""
MAX_POINTS = 18
"""Most points of a generated schema: above this, answers are longer rather than harder."""
MAX_GOLD_CHARS = 420
"""Most characters of a generated gold document."""
MAX_TRIES_PER_SHAPE = 40
"""Number of drafts of one shape before it is given up."""
MAX_MISSES = 3000
"""Number of draws without a new prompt after which the grammar counts as exhausted."""

_SHARES: tuple[Split, ...] = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2


def build_splits(
    *, seed: int, num_train_prompts: int, num_eval_prompts: int
) -> Mapping[Split, tuple[Prompt, ...]]:
    """Return all three splits; validation and test have ``num_eval_prompts`` each."""
    sizes = {"train": num_train_prompts, "validation": num_eval_prompts, "test": num_eval_prompts}
    return {split: build_split(split, seed=seed, num_prompts=sizes[split]) for split in SPLITS}


def build_split(split: Split, *, seed: int, num_prompts: int) -> tuple[Prompt, ...]:
    """Return one split, with simple, medium and hard prompts in turn.

    Raises:
        ValueError: The grammar has too few skeletons for that many prompts.
    """
    sources = [_prompts(split, difficulty, seed) for difficulty in DIFFICULTIES]
    return tuple(
        replace(next(sources[number % len(sources)]), id=f"{split}-{number:05d}")
        for number in range(num_prompts)
    )


@lru_cache(maxsize=16)
def kept_split(split: Split, *, seed: int, num_prompts: int) -> tuple[Prompt, ...]:
    """Return the prompts of ``build_split``, from the user's cache directory if possible.

    A file's name holds the code's hash and the arguments. If the cache cannot be written,
    prompts are generated each time.
    """
    try:
        folder = writable_cache_folder("data")
    except StorageError:
        return build_split(split, seed=seed, num_prompts=num_prompts)
    code = code_hash(Path(__file__).parent)[:16]
    path = folder / f"strict_json-{code}-{seed}-{split}-{num_prompts}.jsonl"
    if not path.exists():
        prompts = build_split(split, seed=seed, num_prompts=num_prompts)
        write_text(path, "\n".join(json.dumps(asdict(prompt)) for prompt in prompts))
    lines = path.read_text().splitlines()
    return tuple(_prompt_of(json.loads(line)) for line in lines)


def split_of(family: str) -> Split:
    """Return the split of a family: train for six in ten, validation and test for two each."""
    return _SHARES[int(family[:8], 16) % len(_SHARES)]


def prompt_row(prompt: Prompt) -> dict[str, object]:
    """Return a prompt as a row of an exported split."""
    return {
        "id": prompt.id,
        "prompt": prompt.text,
        "schema": json.loads(prompt.columns["schema"]),
        "difficulty": prompt.difficulty,
        "family": prompt.family,
        "gold": prompt.gold,
    }


def _prompts(split: Split, difficulty: Difficulty, seed: int) -> Iterator[Prompt]:
    """Yield the prompts of one difficulty of a split, without ids; all texts differ."""
    rng = Random(f"strict_json/{seed}/{split}/{difficulty}")
    num_wanted = 1 if split == "train" else PROMPTS_PER_FAMILY
    texts: set[str] = set()
    families: set[str] = set()
    num_misses = 0
    while num_misses < MAX_MISSES:
        num_misses += 1
        shape = draw_shape(rng, difficulty)
        schema = realize(shape, rng).schema
        family = family_of(schema)
        if split_of(family) != split or family in families or not _fits(schema, difficulty):
            continue
        prompts = list(islice(_of_shape(shape, rng, texts), num_wanted))
        if len(prompts) < num_wanted:
            continue
        num_misses = 0
        if split != "train":
            families.add(family)
        yield from prompts
    raise ValueError(
        f"The grammar has no more {difficulty} prompts for {split} after {len(texts)}. "
        "Ask for fewer prompts."
    )


def _prompt_of(row: dict[str, Any]) -> Prompt:
    return Prompt(**{**row, "constructs": tuple(row["constructs"])})


def _fits(schema: Mapping[str, Any], difficulty: Difficulty) -> bool:
    measured = measure(schema)
    return measured.difficulty == difficulty and measured.points <= MAX_POINTS


def _of_shape(shape: Container, rng: Random, texts: set[str]) -> Iterator[Prompt]:
    """Yield prompts of one shape whose texts are new, and add them to ``texts``."""
    for _ in range(MAX_TRIES_PER_SHAPE):
        draft = realize(shape, rng)
        text = render(draft.schema, subject=draft.subject, rng=rng)
        gold = gold_text(draft, rng)
        if text in texts or len(gold) > MAX_GOLD_CHARS:
            continue
        texts.add(text)
        yield Prompt(
            id="",
            text=text,
            family=family_of(draft.schema),
            difficulty=difficulty_of(draft.schema),
            constructs=constructs_of(draft.schema),
            columns={"schema": json.dumps(draft.schema, separators=(",", ":"))},
            gold=gold,
        )
