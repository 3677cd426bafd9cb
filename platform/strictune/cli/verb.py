"""What a verb of the command line consists of, and the options that several verbs share."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Verb", "add_sweep_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb: how it is called, and the function behind it."""

    name: str
    summary: str
    """One line of the help screen."""
    example: str
    """A complete command line."""
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds the verb's arguments."""
    execute: Callable[[argparse.Namespace], int]
    """Does the work; returns the exit code. Imports what is heavy inside."""


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add the sweep file, ``--set`` and ``--only``."""
    parser.add_argument("sweep", metavar="SWEEP.yaml", help="the sweep file")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a value on top of the file, e.g. trial.grpo.beta=0.02; repeatable",
    )
    parser.add_argument(
        "--only",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="keep the trials with this model, thinking, curriculum, variant or seed; repeatable",
    )
