"""The heartbeat of a running trial, and its check for stop requests.

The trial beats at every optimizer step and every evaluated batch. When the beats stay away for
too long, the process ends itself with a traceback of every thread, so that whoever watches over
it can start it again from its last checkpoint.
"""

import faulthandler
import logging
from pathlib import Path
from typing import Self

from strictune.errors import TrialStopped

__all__ = ["HANG_FILE", "STOP_FILE", "Pulse", "has_hung"]

logger = logging.getLogger(__name__)

HANG_FILE = "hangs.txt"
"""One traceback for each time that the process hung: in the trial's folder, or in that of a sweep's
baselines."""
STOP_FILE = "stop"
"""In the trial's folder: its presence asks the trial to stop, its text says why."""


def has_hung(folder: Path, *, since: float) -> bool:
    """Tell whether a process that watches itself in ``folder`` hung after ``since`` (Unix time)."""
    hangs = folder / HANG_FILE
    if not hangs.exists():
        return False
    found = hangs.stat()
    return found.st_size > 0 and found.st_mtime >= since


class Pulse:
    """The heartbeat of one trial's process; a context manager.

    The timer is ``faulthandler``'s: a thread of C, which ends the process even while Python
    hangs inside a library and holds the interpreter's lock. There is one such timer in a
    process.
    """

    def __init__(self, folder: Path, *, timeout_s: float | None = None) -> None:
        """Watch the trial in ``folder``; without a timeout it may take as long as it likes."""
        self._folder = folder
        self._timeout_s = timeout_s
        self._tracebacks = (folder / HANG_FILE).open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        self._restart_timer()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timeout_s is not None:
            faulthandler.cancel_dump_traceback_later()
        self._tracebacks.close()

    def beat(self) -> None:
        """Record a sign of life.

        Raises:
            TrialStopped: The trial is asked to stop.
        """
        request = self._folder / STOP_FILE
        if request.exists():
            raise TrialStopped(request.read_text(encoding="utf-8") or "stopped by its user")
        self._restart_timer()

    def _restart_timer(self) -> None:
        if self._timeout_s is not None:
            faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=self._tracebacks)
