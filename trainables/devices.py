"""What this machine's processor can do, asked without torch, and what it is called in records."""

import functools
import platform
import re
from pathlib import Path

__all__ = ["cpu_has_bfloat16", "cpu_name"]

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Linux' names of what torch multiplies bfloat16 with; without, it goes element by element."""


def cpu_name() -> str:
    """Return how this machine's processor appears in ``lock.json``, and its costs are kept."""
    return f"cpu ({platform.machine()}{', bfloat16' if cpu_has_bfloat16() else ''})"


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in hardware."""
    if not CPUINFO.exists():
        return False
    flags = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    return flags is not None and not BFLOAT16_FLAGS.isdisjoint(flags[1].split())
