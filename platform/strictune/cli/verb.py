"""What a verb of the command line consists of, and the options that several verbs share."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Verb", "add_resume_options", "add_sweep_options"]


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
        help="keep the trials with this model, thinking, curriculum, method, variant or seed; "
        "repeatable",
    )


def add_resume_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--resume``, ``--retry`` and ``--trials``."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the sweep in its folder; starts it where there is none",
    )
    parser.add_argument(
        "--retry",
        action="store_true",
        help="with --resume, run trials again that failed or were stopped",
    )
    parser.add_argument(
        "--trials",
        metavar="N",
        help="points of each study of a search; +N adds to those it has, with --resume",
    )
