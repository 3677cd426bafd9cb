"""The process that runs a sweep, as ``driver.json`` names it.

The process writes the file when it starts and removes it when it ends. A process that was killed
leaves it behind, and its process id may have been given to another one.
"""

import json
import socket
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

__all__ = ["Driver", "read_driver"]

CLOCK_TOLERANCE_S = 5.0
"""How far the start of a process and what it wrote as its time may lie apart."""


class Driver(NamedTuple):
    """The content of ``driver.json``."""

    pid: int
    host: str
    started: float
    """In seconds since the epoch."""

    def status(self) -> Literal["alive", "gone", "elsewhere"]:
        """Whether the process runs; unknown for another machine."""
        if self.host != socket.gethostname():
            return "elsewhere"
        try:
            process = psutil.Process(self.pid)
            is_another = process.create_time() > self.started + CLOCK_TOLERANCE_S
            has_ended = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:  # It may be another user's, which cannot be inspected.
            return "alive" if psutil.pid_exists(self.pid) else "gone"
        return "gone" if is_another or has_ended else "alive"


def read_driver(folder: Path) -> Driver | None:
    """Return the process that runs the sweep in ``folder``, None without a valid file."""
    try:
        content = json.loads((folder / "driver.json").read_bytes())
        return Driver(int(content["pid"]), str(content["host"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
