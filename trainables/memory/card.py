"""What a process takes of a GPU beside torch's tensors, and how it is kept within its share.

torch counts what its allocator holds. The CUDA context, its libraries and paged optimizer
states lie beside that, so a card fills up earlier than torch's own numbers say.
"""

import gc
import logging
import os
import subprocess
from collections.abc import Callable

import torch

from strictune.packing import fitting_shares
from trainables.failures import is_out_of_memory

__all__ = [
    "CONTEXT_GIB",
    "beside_torch_gib",
    "card_gib",
    "free_card",
    "limit_to_share",
    "parse_compute_apps",
    "repeat_in_shares",
]

logger = logging.getLogger(__name__)

GIB = 2**30

CONTEXT_GIB = 0.5
"""Assumed size of the CUDA context where the driver does not tell it; not measured by us."""

QUERY = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
QUERY_TIMEOUT_S = 10.0


def limit_to_share(share: float) -> None:
    """Make torch refuse what this process would take beyond its share of the card.

    The limit is on torch's allocator, so the context is taken off the share first: four
    processes of a quarter each must fit with their contexts.
    """
    fraction = allocator_fraction(share, total_gib=card_gib())
    torch.cuda.set_per_process_memory_fraction(fraction)


def allocator_fraction(share: float, *, total_gib: float) -> float:
    """Return the part of a card that torch may allocate in a process with ``share`` of it."""
    # Half at least: a share that barely holds the context must fail on tensors, not at start.
    return max(share - CONTEXT_GIB / total_gib, share / 2)


def repeat_in_shares(work: Callable[[], object], *, gpu_gib: float) -> float | None:
    """Repeat work that took ``gpu_gib`` in the share that a trial like it would be granted.

    Where it runs out of memory, in the next larger share, until one holds it or only the whole
    card is left, in which it has run already.

    Returns:
        The largest share in which it failed, in GiB, or None if the first held it.
    """
    failed_gib = None
    for share in fitting_shares(gpu_gib, card_gib()):
        if share == 1:
            break
        limit_to_share(share)
        try:
            work()
            break
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        free_card()
        failed_gib = share * card_gib()
        logger.warning("%.1f GiB did not fit into %g of the card", gpu_gib, share)
    return failed_gib


def free_card() -> None:
    """Drop what nothing refers to any more, and give its memory back to the card."""
    gc.collect()
    torch.cuda.empty_cache()  # Does nothing where CUDA was never used.


def card_gib() -> float:
    """Return the memory of this process's whole card."""
    return float(torch.cuda.get_device_properties(0).total_memory) / GIB


def beside_torch_gib(*, is_alone: bool) -> float:
    """Return what this process holds on the card beside torch's allocator, in GiB.

    Args:
        is_alone: No other process is on the card, so that what is used there is ours. The
            driver's own list is asked otherwise; in a container it often lacks us.
    """
    held = torch.cuda.memory_reserved()
    if is_alone:
        free, total = torch.cuda.mem_get_info()
        return max(0.0, (total - free - held) / GIB)
    used_mib = parse_compute_apps(_compute_apps()).get(os.getpid())
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


def _compute_apps() -> str:
    try:
        result = subprocess.run(
            QUERY, capture_output=True, text=True, check=False, timeout=QUERY_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""
