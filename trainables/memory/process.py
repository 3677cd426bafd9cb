"""The memory of this process: reads its peaks, and limits it to its share of a GPU.

Main memory is the kernel's high-water mark of the process. On a GPU it is the most that tensors
have taken, and what lies beside torch's allocator: the CUDA context, its libraries and paged
optimizer states. What the allocator has reserved is reported separately: it includes
blocks that are not in use.
"""

import gc
import logging
import os
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from trainables.devices import GIB, fitting_shares, nvidia_smi
from trainables.failures import is_out_of_memory
from trainables.memory.estimate import CONTEXT_GIB

__all__ = [
    "PeakMeter",
    "beside_torch_gib",
    "free_gpu",
    "gpu_size_gib",
    "limit_to_share",
    "parse_compute_apps",
    "peak_rss_gib",
    "repeat_in_shares",
]

logger = logging.getLogger(__name__)

STATUS = Path("/proc/self/status")


class PeakMeter:
    """Reads the peaks of this process, as metrics of a trial."""

    def __init__(self, *, is_alone: bool = False) -> None:
        """Start reading.

        Args:
            is_alone: No other process is on this GPU.
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


def limit_to_share(share: float) -> None:
    """Make torch refuse what this process would take beyond its share of the GPU.

    The limit is on torch's allocator, so the context is taken off the share first: four
    processes of a quarter each must fit with their contexts.
    """
    fraction = allocator_fraction(share, total_gib=gpu_size_gib())
    torch.cuda.set_per_process_memory_fraction(fraction)


def allocator_fraction(share: float, *, total_gib: float) -> float:
    """Return the part of a GPU that torch may allocate in a process with ``share`` of it."""
    # Half at least: a share that barely holds the context must fail on tensors, not at start.
    return max(share - CONTEXT_GIB / total_gib, share / 2)


def repeat_in_shares(work: Callable[[], object], *, gpu_gib: float) -> float | None:
    """Repeat work that took ``gpu_gib`` in the share that a trial like it would be granted.

    Where it runs out of memory, in the next larger share, until one holds it or only the whole
    GPU is left, in which it has run already.

    Returns:
        The largest share in which it failed, in GiB, or None if the first held it.
    """
    failed_gib = None
    for share in fitting_shares(gpu_gib, gpu_size_gib()):
        if share == 1:
            break
        limit_to_share(share)
        try:
            work()
            break
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        free_gpu()
        failed_gib = share * gpu_size_gib()
        logger.warning("%.1f GiB did not fit into %g of the GPU", gpu_gib, share)
    return failed_gib


def free_gpu() -> None:
    """Collect garbage and return unused memory to the GPU."""
    gc.collect()
    torch.cuda.empty_cache()  # Does nothing where CUDA was never used.


def gpu_size_gib() -> float:
    """Return the memory of this process's whole GPU."""
    return float(torch.cuda.get_device_properties(0).total_memory) / GIB


def beside_torch_gib(*, is_alone: bool) -> float:
    """Return what this process holds on the GPU beside torch's allocator, in GiB.

    Args:
        is_alone: No other process is on the GPU, so that what is used there is ours. The
            driver's own list is asked otherwise; in a container it often lacks us.
    """
    held = torch.cuda.memory_reserved()
    if is_alone:
        free, total = torch.cuda.mem_get_info()
        return max(0.0, (total - free - held) / GIB)
    listed = nvidia_smi("--query-compute-apps=pid,used_memory")
    used_mib = parse_compute_apps(listed).get(os.getpid())
    if used_mib is None:
        return CONTEXT_GIB
    return max(0.0, used_mib / 1024 - held / GIB)


def parse_compute_apps(text: str) -> dict[int, float]:
    """Return MiB by process id from nvidia-smi's list; ``[N/A]`` rows are left out."""
    found = {}
    for line in text.splitlines():
        pid, _, used = line.partition(",")
        try:
            found[int(pid)] = float(used)
        except ValueError:
            continue
    return found
