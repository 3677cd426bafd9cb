"""What this machine can give to trials: cores, main memory and GPUs, asked without torch.

The plan is made with it. A running sweep asks its cluster instead.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from strictune.packing import Gpu, Machine
from trainables.devices import GIB, nvidia_smi

__all__ = ["parse_gpus", "this_machine"]

QUERY = "--query-gpu=name,memory.total,compute_cap"
GPU = re.compile(r"(?P<name>.+), (?P<mib>\d+), (?P<capability>\d+)\.\d+")
AMPERE = 8
"""The compute capability of the first GPUs that have bfloat16 in hardware."""
UUIDS = ("GPU-", "MIG-")
"""How the entries of CUDA_VISIBLE_DEVICES begin that are no numbers."""

FREE_FOR_OTHERS = 0.1
"""Share of the available main memory that is left to the driver, Ray and the system."""

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def this_machine() -> Machine:
    """Describe this machine, without the GPUs that CUDA_VISIBLE_DEVICES hides."""
    gpus = parse_gpus(nvidia_smi(QUERY), visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Machine(
        cpus=float(_usable_cores()),
        memory_gib=_available_gib() * (1 - FREE_FOR_OTHERS),
        gpus=len(gpus),
        gpu=min(gpus, key=lambda gpu: gpu.memory_gib, default=None),
    )


def parse_gpus(text: str, *, visible: str | None) -> list[Gpu]:
    """Read nvidia-smi's list; ``visible`` is CUDA_VISIBLE_DEVICES, by number or by UUID."""
    gpus = []
    for line in text.splitlines():
        found = GPU.fullmatch(line)
        if found is not None:
            gpus.append(
                Gpu(
                    name=found["name"],
                    memory_gib=int(found["mib"]) / 1024,
                    has_bfloat16=int(found["capability"]) >= AMPERE,
                )
            )
    if visible is None:
        return gpus
    chosen: list[Gpu] = []
    for entry in map(str.strip, visible.split(",")):
        # A UUID takes the next GPU: their number is right, and nearly always they are of one kind.
        number = str(len(chosen)) if entry.startswith(UUIDS) else entry
        if not number.isdecimal() or int(number) >= len(gpus):
            break  # As in CUDA: the first entry that names no GPU hides itself and the rest.
        chosen.append(gpus[int(number)])
    return chosen


def _usable_cores() -> int:
    """Count the cores that this process may use: by affinity, and by the quotas of its cgroups."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))  # taskset, Slurm, cpusets.
    return max(1, int(min([cores, *_cpu_quotas()])))


def _cpu_quotas() -> Iterator[float]:
    """Yield the limits in cores that containers, systemd or Slurm have set for this process.

    Those of the cgroup that it is in and of all above it, in version 2 and version 1. Inside
    a container the own cgroup is at the root, whatever its path says.
    """
    if not OWN_CGROUPS.exists():
        return
    for line in OWN_CGROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers
        own = root / path.strip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(root):
                break
            quota = _cpu_quota(folder)
            if quota is not None:
                yield quota


def _cpu_quota(cgroup: Path) -> float | None:
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu.cfs_period_us").read_text()
    except OSError:  # No such limit here.
        return None
    return float(quota) / float(period) if quota.isdigit() else None


def _available_gib() -> float:
    """Return the main memory that new processes can take, in a container within its limit."""
    available = float(psutil.virtual_memory().available) / GIB
    if CGROUP_LIMIT.exists() and CGROUP_LIMIT.read_text().strip().isdigit():
        left = int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text())
        available = min(available, left / GIB)
    return available
