"""Runs checks side by side, each within its time limit; no check takes the others down."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from strictune.doctor.findings import Finding, Place, Status

__all__ = ["Check", "examine"]

logger = logging.getLogger(__name__)


class Check(NamedTuple):
    """One thing to look at."""

    name: str
    """Of what is found, where the check cannot say it itself."""
    run: Callable[[Place], Finding | Sequence[Finding]]
    limit_s: float = 15.0
    """An answer that comes later counts as none."""
    late: Status = "broken"
    """What no answer means."""


def examine(checks: Sequence[Check], place: Place) -> Iterator[Finding]:
    """Run all checks at once and yield what they find, in their order."""
    running = [_Running(check, place) for check in checks]
    for each in running:
        yield from each.findings()


class _Running:
    """A check in a thread of its own, which may hang, e.g. on a dead network drive."""

    def __init__(self, check: Check, place: Place) -> None:
        self._check = check
        self._found: list[Finding] = []
        self._deadline = time.monotonic() + check.limit_s
        self._thread = threading.Thread(target=self._run, args=(place,), daemon=True)
        self._thread.start()

    def findings(self) -> list[Finding]:
        """Wait for what the check finds."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        return list(self._found) or [
            Finding(
                name=self._check.name,
                status=self._check.late,
                found=f"gave no answer within {self._check.limit_s:g} s",
                cure="Try again when the machine has less to do; if it stays so, look at what "
                "this depends on: network, network drives, drivers.",
            )
        ]

    def _run(self, place: Place) -> None:
        try:
            found = self._check.run(place)
        except Exception as error:
            logger.debug("check=%s failed", self._check.name, exc_info=error)
            self._found = [
                Finding(
                    name=self._check.name,
                    status="broken",
                    found=f"the check itself failed: {type(error).__name__}: {error}",
                    cure="Please report this, with `strictune doctor --json`.",
                )
            ]
        else:
            self._found = [found] if isinstance(found, Finding) else list(found)
