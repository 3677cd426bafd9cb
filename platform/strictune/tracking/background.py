"""Runs the mirror in a thread beside a sweep, so that a failing store cannot stop the sweep.

A store that does not answer causes one warning: the folders keep everything, and the next pass
that succeeds copies it all.
"""

import logging
import threading
import time
from collections.abc import Callable

from strictune.addresses import without_password
from strictune.errors import StorageError
from strictune.tracking.mirror import Mirror, SyncReport
from strictune.tracking.names import RunStatus

__all__ = ["MirrorThread"]

logger = logging.getLogger(__name__)


class MirrorThread:
    """Copies a sweep every few seconds, and ends its runs when stopped."""

    def __init__(
        self, mirror: Mirror, *, interval_s: float = 5.0, max_interval_s: float = 60.0
    ) -> None:
        self._mirror = mirror
        self._shown_uri = without_password(mirror.tracking_uri)
        self._interval_s = interval_s
        self._max_interval_s = max_interval_s
        self._pause_s = interval_s
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._status: RunStatus | None = None
        self._known_problems: set[str] = set()
        self._is_away = False
        self._delivered = False
        # A daemon, so that a hanging call does not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="strictune-mirror", daemon=True)

    def start(self) -> None:
        """Begin; a SQLite store is there when this returns.

        Raises:
            StorageError: Another process mirrors this sweep, or the SQLite file cannot be made.
        """
        self._mirror.open()
        self._thread.start()

    def stop(self, status: RunStatus | None = None, *, timeout_s: float = 60.0) -> bool:
        """End every run and say whether the store now holds everything.

        Tries until it has succeeded or the time is up; then the thread is left alone.

        Args:
            status: How the sweep ended; see ``Mirror.close``.
            timeout_s: How long the sweep's end may wait for the store.
        """
        self._status = status
        self._deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._thread.join(timeout_s)
        if not self._delivered:
            logger.warning(
                "sweep=%s is not fully in the tracking store; "
                "run `strictune track replay %s` once the store is back",
                self._mirror.sweep_dir.name,
                self._mirror.sweep_dir,
            )
        return self._delivered

    def _run(self) -> None:
        with self._mirror:
            while not self._stopping.is_set():
                self._attempt(self._mirror.sync)
                self._stopping.wait(self._pause_s)
            self._pause_s = min(self._interval_s, 1.0)
            self._deliver()

    def _deliver(self) -> None:
        """Make final passes until nothing is missing, the store refuses, or the time is up."""
        problems = None
        while True:
            report = self._attempt(lambda: self._mirror.close(self._status))
            if report is not None:
                self._delivered = report.is_complete
                if report.problems == problems or self._delivered:
                    return
                problems = report.problems
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(self._pause_s, left_s))

    def _attempt(self, copy: Callable[[], SyncReport]) -> SyncReport | None:
        """Make one pass; return None if it failed."""
        report = None
        try:
            report = copy()
        except StorageError as error:
            if not self._is_away:
                logger.warning("store=%s is away, training goes on: %s", self._shown_uri, error)
            self._is_away = True
        except Exception:
            # Nothing that fails here may stop the sweep.
            logger.exception("sweep=%s was not mirrored", self._mirror.sweep_dir.name)
        else:
            self._tell(report)
        is_complete = report is not None and report.is_complete
        longer_s = min(2 * self._pause_s, self._max_interval_s)
        self._pause_s = self._interval_s if is_complete else longer_s
        return report

    def _tell(self, report: SyncReport) -> None:
        if self._is_away:
            logger.info(
                "store=%s is back; caught up with %d metric values and %d files",
                self._shown_uri,
                report.num_points,
                report.num_files,
            )
        self._is_away = False
        for problem in report.problems:
            if problem not in self._known_problems:
                logger.warning("sweep=%s %s", self._mirror.sweep_dir.name, problem)
                self._known_problems.add(problem)
