"""The one process that runs a sweep: it holds the folder, says who it is, and hears "stop"."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from strictune.errors import StorageError
from strictune.launch.folder import SweepFolder, refuse_foreign
from strictune.records import write_json

__all__ = ["driving", "holding"]

STOP_POLL_S = 0.5


@contextmanager
def holding(folder: SweepFolder) -> Iterator[None]:
    """Have a sweep's folder to oneself for the time of the body, before anything in it changes.

    The operating system unlocks it when the process ends, however it ends; the lock's file
    stays. A process that holds the folder may take it once more.

    Raises:
        StorageError: Another process runs the sweep, or the folder holds something else.
    """
    refuse_foreign(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.lock, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageError(folder.taken()) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def driving(folder: SweepFolder) -> Iterator[str]:
    """Be the driver of a sweep for the time of the body; yields a name for this run of it.

    While it lasts, ``driver.json`` says who runs the sweep, and each file named ``stop`` in the
    folder interrupts it as Ctrl-C would.

    Raises:
        StorageError: Another process runs the sweep.
    """
    with holding(folder):
        try:
            folder.stop_request.unlink(missing_ok=True)
            started = time.time()
            who = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            write_json(folder.driver, who)
            with _interrupting_when_asked(folder):
                yield f"{who['host']}:{who['pid']}:{started:.0f}"
        finally:
            folder.driver.unlink(missing_ok=True)
            folder.stop_request.unlink(missing_ok=True)


@contextmanager
def _interrupting_when_asked(folder: SweepFolder) -> Iterator[None]:
    ended = threading.Event()

    def listen() -> None:
        while not ended.wait(STOP_POLL_S):
            if folder.stop_request.exists():
                folder.stop_request.unlink(missing_ok=True)
                os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=listen, name="stop-request", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
