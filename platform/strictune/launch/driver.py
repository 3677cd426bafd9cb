"""The one process that runs a sweep: locks its folder and checks for stop requests."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from strictune.errors import StorageError
from strictune.launch.folder import SweepFolder, refuse_other_content
from strictune.records import write_json

__all__ = ["driving", "locked", "repeating"]

STOP_POLL_S = 0.5


@contextmanager
def locked(folder: SweepFolder) -> Iterator[None]:
    """Lock the sweep's folder while the context is open, before anything in it changes.

    The operating system unlocks it when the process ends, for whatever reason; the lock file stays.
    A process that holds the lock may take it again.

    Raises:
        StorageError: Another process runs the sweep, or the folder holds something else.
    """
    refuse_other_content(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.lock, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageError(folder.in_use_message()) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def driving(folder: SweepFolder) -> Iterator[str]:
    """Register this process as the sweep's driver; yields a name for this run of the sweep.

    While the context is open, ``driver.json`` names the process, and a file named ``stop`` in the
    folder interrupts it as Ctrl-C would.

    Raises:
        StorageError: Another process runs the sweep.
    """
    with locked(folder):
        try:
            folder.stop_request.unlink(missing_ok=True)
            started = time.time()
            who = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            write_json(folder.driver, who)
            with repeating(lambda: _interrupt_if_asked(folder), every_s=STOP_POLL_S):
                yield f"{who['host']}:{who['pid']}:{started:.0f}"
        finally:
            folder.driver.unlink(missing_ok=True)
            folder.stop_request.unlink(missing_ok=True)


def _interrupt_if_asked(folder: SweepFolder) -> None:
    if folder.stop_request.exists():
        folder.stop_request.unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def repeating(action: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Call ``action`` every ``every_s`` seconds, in a thread, while the context is open."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
