"""Every error that strictune raises on purpose.

StrictuneError
+-- SpecError      a sweep file, suite or command line that cannot be run as written
+-- BudgetError    a request that does not fit the machine
+-- TrialError     a trial that cannot go on; its text is the recorded reason
+-- TrialPaused    a trial that cannot go on now; it keeps what it has and stays open
+-- TrialStopped   a trial that its user ended
+-- StorageError   a folder or store that cannot be used

Messages say where, what was found, what is allowed and what to do next. The
command line prints them without a traceback; ``SpecError``, ``BudgetError`` and
``StorageError`` end it with exit code 2.
"""

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

__all__ = [
    "BudgetError",
    "SpecError",
    "StorageError",
    "StrictuneError",
    "TrialError",
    "TrialPaused",
    "TrialStopped",
    "did_you_mean",
]


class StrictuneError(Exception):
    """The base of every error below."""


class SpecError(StrictuneError):
    """A sweep file, suite or command line cannot be run as written."""


class BudgetError(StrictuneError):
    """A request does not fit the machine."""


class TrialError(StrictuneError):
    """A trial cannot go on; the message is recorded as the reason of its failure."""


class TrialPaused(StrictuneError):  # noqa: N818
    """A trial cannot go on as things are; it keeps its checkpoints and has not ended."""

    def __init__(self, message: str, *, lacks: Literal["disk", "memory", "server"]) -> None:
        super().__init__(message)
        self.lacks = lacks
        """What it needs more of, or at all."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way from one process to another."""
        return partial(type(self), lacks=self.lacks), self.args


class TrialStopped(StrictuneError):  # noqa: N818
    """A trial is asked to stop."""


class StorageError(StrictuneError):
    """A folder or store cannot be used."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the closest of the ``known`` names, or nothing if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""
