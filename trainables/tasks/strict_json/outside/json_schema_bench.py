"""JSONSchemaBench: ten collections of real-world schemas, from the Hugging Face hub.

Geng et al. (2025), "JSONSchemaBench: A Rigorous Benchmark of Structured Outputs for Language
Models". The ``test`` split of each collection is used. The first load needs the network, later ones
use the library's cache.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from strictune.errors import SpecError
from trainables.tasks.strict_json.outside.candidates import Candidate, Dropped

__all__ = ["HUB_DATASET", "JSON_SCHEMA_BENCH_PARTS", "json_schema_bench_candidates"]

HUB_DATASET = "epfl-dlab/JSONSchemaBench"

JSON_SCHEMA_BENCH_PARTS = (
    "Github_trivial",
    "Github_easy",
    "Github_medium",
    "Github_hard",
    "Github_ultra",
    "Glaiveai2K",
    "JsonSchemaStore",
    "Kubernetes",
    "Snowplow",
    "WashingtonPost",
)
"""Names of the collections on the hub."""

_REQUEST = "Write a JSON document that conforms to this JSON Schema:"


def json_schema_bench_candidates(
    parts: Sequence[str], *, source: str = HUB_DATASET
) -> Iterator[Candidate | Dropped]:
    """Yield the schemas of some collections, in the order of the hub.

    Args:
        parts: Some of ``JSON_SCHEMA_BENCH_PARTS``.
        source: The data set's name on the hub, or a folder with a copy of it.

    Raises:
        SpecError: A collection cannot be loaded, or lacks a column.
    """
    for part in parts:
        yield from map(_candidate, _rows(source, part))


def _rows(source: str, part: str) -> Sequence[Mapping[str, Any]]:
    # A slow import that no other suite needs.
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        rows = load_dataset(source, name=part, split="test")
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise SpecError(
            f"suite jsonschemabench:{part}: {source} cannot be loaded ({str(error)[:200]}). It "
            "is on the Hugging Face hub: try again where there is a network."
        ) from error
    missing = {"json_schema", "unique_id"} - set(rows.column_names)
    if missing:
        raise SpecError(
            f"suite jsonschemabench:{part}: {source} has the columns "
            f"{', '.join(rows.column_names)}, expected json_schema and unique_id."
        )
    return rows  # type: ignore[no-any-return]


def _candidate(row: Mapping[str, Any]) -> Candidate | Dropped:
    try:
        schema = json.loads(row["json_schema"])
    except (ValueError, RecursionError):
        return Dropped("schema that is not JSON")
    return Candidate(row["unique_id"], _REQUEST, schema)
