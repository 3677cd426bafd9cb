"""The most memory that this process has taken so far, in GiB.

Main memory is the kernel's high-water mark of the process. On a card it is the most that tensors
have taken, and what lies beside torch's allocator (``card``). What the allocator has reserved is
told apart from that: it keeps blocks that nobody uses for as long as nobody wants them.
"""

import re
import resource
import sys
from pathlib import Path

import torch

from trainables.memory.card import beside_torch_gib

__all__ = ["PeakMeter", "peak_rss_gib"]

GIB = 2**30
STATUS = Path("/proc/self/status")


class PeakMeter:
    """Reads the peaks of this process, as metrics of a trial."""

    def __init__(self, *, is_alone: bool = False) -> None:
        """Start reading.

        Args:
            is_alone: No other process is on this card.
        """
        self._is_alone = is_alone
        self._beside_gib: float | None = None

    def read(self) -> dict[str, float]:
        """Return ``memory/peak_gib``, and where there is a GPU what was needed and reserved of it.

        ``gpu/peak_gib`` and ``gpu/peak_reserved_gib`` are as the device sees them.
        """
        peaks = {"memory/peak_gib": peak_rss_gib()}
        if torch.cuda.is_available():
            beside_gib = self._read_beside_gib()
            peaks["gpu/peak_gib"] = torch.cuda.max_memory_allocated() / GIB + beside_gib
            peaks["gpu/peak_reserved_gib"] = torch.cuda.max_memory_reserved() / GIB + beside_gib
        return peaks

    def _read_beside_gib(self) -> float:
        if self._beside_gib is None:
            # Once: the context is there from the first kernel on, and asking costs a process.
            self._beside_gib = beside_torch_gib(is_alone=self._is_alone)
        return self._beside_gib


def peak_rss_gib() -> float:
    """Return the most main memory that this process has held."""
    if STATUS.exists():
        # Not getrusage: on Linux its mark outlives exec, so a child starts with its parent's.
        found = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / GIB if sys.platform == "darwin" else peak / 2**20
