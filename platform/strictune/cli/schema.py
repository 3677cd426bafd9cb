"""``strictune schema``: the JSON Schema of sweep files, so that editors complete them."""

import argparse

from strictune.cli.terminal import print_json

__all__ = ["configure", "execute"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.config import SweepSpec

    schema = {"$schema": DIALECT, **SweepSpec.model_json_schema()}
    print_json(schema)
    return 0
