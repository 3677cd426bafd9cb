"""Tables, JSON and progress for the terminal, and for pipes, which have no width."""

import codecs
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from rich.text import Text

__all__ = ["print_json", "shown_progress", "table_console", "text_table"]

PIPED_WIDTH = 200
"""Columns of a table that no terminal bounds."""


def table_console() -> Console:
    """Return where tables are printed."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def print_json(document: object) -> None:
    """Print a document as JSON; characters that the output cannot encode become escapes."""
    is_utf8 = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(document, indent=2, ensure_ascii=not is_utf8)
    # Half a surrogate pair, which UTF-8 cannot encode, becomes its escape in JSON.
    print(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def text_table(
    title: str, rows: Sequence[Mapping[str, str]], *, num_left: int | None = None
) -> Table:
    """Lay out a table.

    Args:
        title: Stands above it.
        rows: Heading -> text, as ``analysis.tables.texts`` returns them.
        num_left: So many first columns are flush left, the rest flush right; None: all are left.
    """
    table = Table(title=title)
    for index, heading in enumerate(rows[0] if rows else ()):
        is_left = num_left is None or index < num_left
        table.add_column(heading, justify="left" if is_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row.values()))
    return table


@contextmanager
def shown_progress(things: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on a terminal's error output; yields what takes the numbers done and in all."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(things, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
