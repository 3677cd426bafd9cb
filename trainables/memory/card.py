"""What a process takes of a GPU beside torch's tensors, and how it is kept within its share.

torch counts what its allocator holds. The CUDA context, its libraries and paged optimizer
states lie beside that, so a card fills up earlier than torch's own numbers say.
"""

import os
import subprocess

import torch

__all__ = ["CONTEXT_GIB", "beside_torch_gib", "limit_to_share", "parse_compute_apps"]

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
    total_gib = torch.cuda.get_device_properties(0).total_memory / GIB
    torch.cuda.set_per_process_memory_fraction(allocator_fraction(share, total_gib=total_gib))


def allocator_fraction(share: float, *, total_gib: float) -> float:
    """Return the part of a card that torch may allocate in a process with ``share`` of it."""
    # Half at least: a share that barely holds the context must fail on tensors, not at start.
    return max(share - CONTEXT_GIB / total_gib, share / 2)


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
