"""Tables for the terminal, and for pipes, which have no width."""

import sys

from rich.console import Console

__all__ = ["table_console"]

PIPED_WIDTH = 200
"""Columns of a table that no terminal bounds."""


def table_console() -> Console:
    """Return where tables are printed."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
