"""Schemas, documents and short cuts that the scoring tests share."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainables.tasks.strict_json.rewards import REWARDS
from trainables.tasks.strict_json.scoring import Scorer
from trainables.tasks.strict_json.settings import StrictJsonSettings
from trainables.tasks.task import Score

REFERENCE = Path(__file__).resolve().parents[3].parent / "shared" / "reference"

MAXIMA = dict.fromkeys(REWARDS, 1.0)
THOUGHT = "The schema wants a title, a year and tags."

BOOK = {
    "type": "object",
    "required": ["title", "year", "tags"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "year": {"type": "integer", "minimum": 1450, "maximum": 2100},
        "tags": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": ["new", "used", "rare"]},
        },
        "note": {"type": "string"},
    },
    "additionalProperties": False,
}
GOLD_BOOK = {"title": "Utopia", "year": 1516, "tags": ["rare"]}

SHELF = {
    "type": "array",
    "minItems": 5,
    "maxItems": 5,
    "items": {
        "type": "object",
        "required": ["title", "pages"],
        "properties": {"title": {"type": "string"}, "pages": {"type": "integer"}},
    },
}
GOLD_SHELF = [{"title": f"Volume {number}", "pages": 100 + number} for number in range(5)]


def fenced(document: object, **options: Any) -> str:
    """Write a document as a clean completion; a string is taken as the fence's text."""
    text = document if isinstance(document, str) else json.dumps(document, **options)
    return f"```json\n{text}\n```"


def thoughtful(completion: str, thought: str = THOUGHT) -> str:
    """Put a think block before a completion."""
    return f"<think>{thought}</think>\n{completion}"


def scored(
    completion: str,
    schema: Mapping[str, Any] | bool = BOOK,
    *,
    thinking: bool = False,
    think_prefilled: bool = False,
    scorer: Scorer | None = None,
) -> Score:
    """Score one completion against a schema that is not yet text."""
    return (scorer or Scorer()).score(
        completion, json.dumps(schema), thinking=thinking, think_prefilled=think_prefilled
    )


def total(score: Score, *, thinking: bool = False) -> float:
    """Return the weighted sum under the default weights."""
    weights = StrictJsonSettings().default_weights(thinking)
    return sum(weights[name] * score.rewards[name] for name in REWARDS)


def credit(document: object, schema: Mapping[str, Any]) -> float:
    """Return the schema reward of a document in a clean fence."""
    return scored(fenced(json.dumps(document)), schema).rewards["schema"]


def reference_rows(name: str) -> Sequence[dict[str, Any]]:
    """Read a reference file; skip the test where the files are absent."""
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"the reference data is not at {REFERENCE}")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
