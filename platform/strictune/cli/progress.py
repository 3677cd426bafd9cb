"""Progress of long work, on a terminal's error output alone."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

__all__ = ["shown_progress"]


@contextmanager
def shown_progress(things: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows how many ``things`` of how many are done."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(things, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
