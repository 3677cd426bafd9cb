"""Waiting for what other processes do, longer than a loaded machine takes."""

import time
from collections.abc import Callable

import psutil


def wait_for(condition: Callable[[], object], *, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def wait_until_ended(pid: int, *, seconds: float = 120) -> None:
    """Wait until a process is gone, or a zombie that nobody has waited for."""

    def has_ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_for(has_ended, seconds=seconds)
