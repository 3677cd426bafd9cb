"""``strictune schema``: the JSON Schema of sweep files, so that editors complete them."""

import argparse
import json

from strictune.cli.verb import Verb
from strictune.config import SweepSpec

__all__ = ["VERB"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def _execute(args: argparse.Namespace) -> int:
    schema = {"$schema": DIALECT, **SweepSpec.model_json_schema()}
    print(json.dumps(schema, indent=2))
    return 0


VERB = Verb(
    name="schema",
    summary="print the JSON Schema of sweep files",
    example="strictune schema > sweep.schema.json",
    configure=_configure,
    execute=_execute,
)
