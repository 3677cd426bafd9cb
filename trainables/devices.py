"""Devices: their names in records, what they compute in hardware, shares and memory of a GPU.

torch is imported inside functions: plans and costs need the names alone.
"""

import functools
import math
import os
import platform
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from strictune.errors import TrialError

__all__ = [
    "GIB",
    "GPU_SHARES",
    "PEAK_MARGIN",
    "PRETENDED_GPUS",
    "GpuProblem",
    "allocator_environment",
    "cpu_has_bfloat16",
    "cpu_name",
    "driver_gpus",
    "fitting_shares",
    "gpu_problem",
    "nvidia_smi",
    "require_gpu",
]

GIB = 2**30

PRETENDED_GPUS = "STRICTUNE_PRETENDED_GPUS"
"""Environment variable that, if set, lets granted GPUs be missing: for tests of a cluster that
claims to have some."""
ALLOCATOR_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The first that is set is what torch 2.13 reads."""
GROWING_SEGMENTS = "expandable_segments:True"
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Linux' names of what torch multiplies bfloat16 with; without, it goes element by element."""
NVIDIA_SMI = "nvidia-smi"
NVIDIA_SMI_TIMEOUT_S = 10.0
OLDEST_DRIVER = {"12": 525, "13": 580}
"""By the major version of CUDA (docs: NVIDIA, CUDA compatibility)."""
OTHER_TORCH = "install a build of torch for {} in its place; pytorch.org says how"


GPU_SHARES = tuple(math.floor(10_000 / count) / 10_000 for count in (1, 2, 3, 4, 5, 6, 8, 10, 12))
"""Shares of a GPU, largest first. Few sizes keep GPUs free of gaps, and they are cut to the
four digits that Ray counts with: six times 0.1667 would be more than one GPU."""

PEAK_MARGIN = 1.1
"""Room above a measured peak: lengths met in another order, and on a GPU the allocator's
fragments. Growing segments, simulated for six batches of five decoders whose caches grow by a token
at a time, fit into 1.05 to 1.1 times their tensors; the probe tries the share that comes of it."""


class GpuProblem(NamedTuple):
    """Why torch cannot use a GPU."""

    found: str
    cure: str


def cpu_name() -> str:
    """Return this machine's processor, as in ``lock.json`` and in the cost cache."""
    return f"cpu ({platform.machine()}{', bfloat16' if cpu_has_bfloat16() else ''})"


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in hardware."""
    if not CPUINFO.exists():
        return False
    flags = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    return flags is not None and not BFLOAT16_FLAGS.isdisjoint(flags[1].split())


def require_gpu() -> None:
    """Check that torch can use the GPU that this process was granted.

    Without it transformers and torch would train on the CPU and say nothing.

    Raises:
        TrialError: It cannot.
    """
    if os.environ.get(PRETENDED_GPUS):
        return
    problem = gpu_problem()
    if problem is not None:
        raise TrialError(
            f"this process was granted a GPU on {socket.gethostname()}, but has none that it can "
            f"use: {problem.found}. {problem.cure} To train without one, set "
            "resources.gpus_per_trial = 0."
        )


def gpu_problem() -> GpuProblem | None:
    """Return why torch cannot use the GPUs of this machine, and the cure; None if it can."""
    import torch

    if torch.cuda.is_available():
        return _unsupported_gpu()
    gpus, built_for = driver_gpus(), torch.version.cuda
    if not gpus:
        return GpuProblem(
            "nvidia-smi shows no GPU and no driver",
            "Install NVIDIA's driver; in a container, pass the GPUs on (docker: --gpus all).",
        )
    if built_for is None:
        return GpuProblem(
            f"{gpus}, but torch {torch.__version__} is built without CUDA",
            f"Please {OTHER_TORCH.format('CUDA')}.",
        )
    oldest = OLDEST_DRIVER.get(built_for.partition(".")[0])
    wanted = f" ({oldest} or newer)" if oldest else ""
    return GpuProblem(
        f"{gpus}, but torch {torch.__version__}, built for CUDA {built_for}, cannot use it",
        f"Update the driver to one for CUDA {built_for}{wanted}, and reboot if it was updated "
        f"already; or {OTHER_TORCH.format('an older CUDA')}.",
    )


def fitting_shares(gpu_gib: float, gpu_size_gib: float) -> list[float]:
    """Return the shares of a GPU that hold ``gpu_gib`` with a margin, smallest first."""
    return sorted(share for share in GPU_SHARES if gpu_gib * PEAK_MARGIN <= share * gpu_size_gib)


def driver_gpus() -> str:
    """Return the NVIDIA driver's GPUs and version; empty without a driver."""
    lines = nvidia_smi("--query-gpu=name,driver_version").splitlines()
    pairs = [line.rpartition(",") for line in lines if "," in line]
    return "; ".join(f"{name} (driver {version.strip()})" for name, _, version in pairs)


def nvidia_smi(query: str) -> str:
    """Return nvidia-smi's answer to a query as CSV; empty without a driver."""
    try:
        asked = subprocess.run(
            [NVIDIA_SMI, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=False,
            timeout=NVIDIA_SMI_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout if asked.returncode == 0 else ""


def _unsupported_gpu() -> GpuProblem | None:
    """Return the first visible GPU that this build of torch has no kernels for."""
    import torch

    for index in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(index)
        architectures = torch.cuda.get_arch_list()
        if torch.version.cuda and not _has_kernels(architectures, capability):
            major, minor = capability
            return GpuProblem(
                f"{torch.cuda.get_device_name(index)} has compute capability {major}.{minor}, and "
                f"torch {torch.__version__}, built for CUDA {torch.version.cuda}, has kernels for "
                f"{', '.join(architectures)}",
                f"Use another GPU, or {OTHER_TORCH.format('this one')}.",
            )
    return None


def _has_kernels(architectures: list[str], capability: tuple[int, int]) -> bool:
    """Whether a GPU can run kernels of a build.

    Machine code (``sm_80``) runs on GPUs of the same major version that are not older,
    intermediate code (``compute_90``) on all that are not older.
    """
    gpu = 10 * capability[0] + capability[1]
    for kind, digits in re.findall(r"(sm|compute)_(\d+)", " ".join(architectures)):
        built_for = int(digits)
        if built_for <= gpu and (kind == "compute" or built_for // 10 == capability[0]):
            return True
    return not architectures  # A build that does not say.


def allocator_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add to ``environment`` for expandable segments of GPU memory.

    A cache of keys and values is a little longer at each token, and a block of fixed size never
    fits the next one: without growing segments an evaluation with 5 GiB of tensors reserves most
    of a large GPU.

    The user's settings of the allocator are extended; their own choice about segments is kept.
    """
    first, second = ALLOCATOR_VARIABLES
    name = second if second in environment and first not in environment else first
    given = environment.get(name, "")
    if "expandable_segments" in given:
        return {}
    return {name: f"{given},{GROWING_SEGMENTS}" if given else GROWING_SEGMENTS}
