"""What this machine can give to trials: cores, main memory and cards, asked without torch.

The plan is made with it. A running sweep asks its cluster instead.
"""

import os
import re
import subprocess
from pathlib import Path

from strictune.packing import Card, Machine

__all__ = ["parse_cards", "this_machine"]

QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
CARD = re.compile(r"(?P<name>.+), (?P<mib>\d+), (?P<capability>\d+)\.\d+")
AMPERE = 8
"""The compute capability of the first cards that have bfloat16 in hardware."""
QUERY_TIMEOUT_S = 10.0
UUIDS = ("GPU-", "MIG-")
"""How the entries of CUDA_VISIBLE_DEVICES begin that are no numbers."""

FREE_FOR_OTHERS = 0.1
"""Share of the available main memory that is left to the driver, Ray and the system."""

MEMINFO = Path("/proc/meminfo")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def this_machine() -> Machine:
    """Describe this machine; cards that CUDA_VISIBLE_DEVICES hides are left out."""
    cards = parse_cards(_ask_driver(), visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Machine(
        cpus=float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores()),
        memory_gib=_available_gib() * (1 - FREE_FOR_OTHERS),
        gpus=len(cards),
        card=min(cards, key=lambda card: card.memory_gib, default=None),
    )


def parse_cards(text: str, *, visible: str | None) -> list[Card]:
    """Read nvidia-smi's list; ``visible`` is CUDA_VISIBLE_DEVICES, by number or by UUID."""
    cards = []
    for line in text.splitlines():
        found = CARD.fullmatch(line)
        if found is not None:
            cards.append(
                Card(
                    name=found["name"],
                    memory_gib=int(found["mib"]) / 1024,
                    has_bfloat16=int(found["capability"]) >= AMPERE,
                )
            )
    if visible is None:
        return cards
    chosen: list[Card] = []
    for entry in map(str.strip, visible.split(",")):
        # A UUID takes the next card: their number is right, and nearly always they are of one kind.
        number = str(len(chosen)) if entry.startswith(UUIDS) else entry
        if not number.isdecimal() or int(number) >= len(cards):
            break  # As in CUDA: the first entry that names no card hides itself and the rest.
        chosen.append(cards[int(number)])
    return chosen


def _ask_driver() -> str:
    try:
        result = subprocess.run(
            QUERY, capture_output=True, text=True, check=False, timeout=QUERY_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""


def _cores() -> int:
    return os.cpu_count() or 1


def _available_gib() -> float:
    """Return the main memory that new processes can take, in a container within its limit."""
    if not MEMINFO.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) / 2**20
    if CGROUP_LIMIT.exists() and CGROUP_LIMIT.read_text().strip().isdigit():
        left = int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text())
        available = min(available, left / 2**30)
    return available
