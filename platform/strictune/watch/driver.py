"""Whether anybody runs a sweep: the process that ``driver.json`` names.

The process that runs a sweep writes the file when it starts and removes it when it ends. A
process that was killed leaves it behind, and its number may belong to another one since.
"""

import json
import os
import socket
from pathlib import Path
from typing import Literal, NamedTuple

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
        """Whether the process runs; on another machine that cannot be known."""
        if self.host != socket.gethostname():
            return "elsewhere"
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return "gone"
        except PermissionError:  # It runs, for another user.
            pass
        born = _started(self.pid)
        if born is not None and born > self.started + CLOCK_TOLERANCE_S:
            return "gone"  # Another process has its number now.
        return "alive"


def read_driver(folder: Path) -> Driver | None:
    """Return who runs the sweep in ``folder``, or None if nobody says so."""
    try:
        content = json.loads((folder / "driver.json").read_bytes())
        return Driver(int(content["pid"]), str(content["host"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _started(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None where Linux is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        uptime = Path("/proc/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The second field is the command in parentheses, which may hold anything; of the others
    # the 22nd is the start in clock ticks since boot (proc_pid_stat(5)).
    ticks = int(stat.rpartition(")")[2].split()[19])
    booted = next(int(line.split()[1]) for line in uptime.splitlines() if line.startswith("btime"))
    return booted + ticks / os.sysconf("SC_CLK_TCK")
