"""Cores, memory, open files and disk space."""

import resource
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from strictune.cache import cache_folder
from strictune.doctor.findings import Finding, Place, broken, ok, warning
from strictune.hardware import this_machine

__all__ = [
    "check_caches",
    "check_cores",
    "check_disk",
    "check_memory",
    "check_open_files",
    "check_scratch",
]

LEAST_MEMORY_GIB, ENOUGH_MEMORY_GIB = 1.0, 4.0
LEAST_DISK_GIB, ENOUGH_DISK_GIB = 1.0, 10.0
GIB = 2**30
ENOUGH_FILES = 4096
"""Below it Ray warns (ray/_private/worker.py)."""
FULL_FRAC = 0.95
"""Ray moves no objects to a disk that is fuller (RAY_local_fs_capacity_threshold)."""


def check_cores(place: Place) -> Finding:
    """Cores, and whether the setting of threads fits them."""
    cores = this_machine().cpus
    found = f"{cores:g}"
    threads = place.environ.get("OMP_NUM_THREADS")
    if threads is None:
        return ok("cores", f"{found}; a trial takes as many threads as it is granted cores")
    if threads.isdigit() and 1 <= int(threads) <= cores:
        return ok("cores", f"{found}; OMP_NUM_THREADS={threads}")
    return warning(
        "cores",
        f"{found}, but OMP_NUM_THREADS={threads}",
        cure="unset OMP_NUM_THREADS: a trial takes as many threads as it is granted cores.",
    )


def check_memory(place: Place) -> Finding:
    """Memory that trials could take now."""
    free_gib = this_machine().memory_gib
    found = f"{free_gib:.1f} GiB free for trials"
    cure = "End other programs. What a sweep's trials take is what `strictune plan` says."
    if free_gib < LEAST_MEMORY_GIB:
        return broken("memory", found, cure=cure)
    if free_gib < ENOUGH_MEMORY_GIB:
        return warning("memory", found, cure=cure)
    return ok("memory", found)


def check_open_files(place: Place) -> Finding:
    """How many files a process may open; Ray raises the soft limit to the hard one by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= ENOUGH_FILES:
        return ok("open files", f"{soft} in a process, and Ray may raise it")
    return warning(
        "open files",
        f"at most {hard} in a process; Ray wants {ENOUGH_FILES}",
        cure="Raise the hard limit: `nofile` in /etc/security/limits.conf, LimitNOFILE of a "
        "service, or --ulimit nofile=65536 of a container.",
    )


def check_disk(place: Place) -> Finding:
    """Whether results can be written, and room for them."""
    folder = place.existing
    obstacle = _write_obstacle(folder)
    if obstacle is not None:
        return broken("results", obstacle, cure="Choose another folder with --out.")
    free_gib = shutil.disk_usage(folder).free / GIB
    found = f"{free_gib:.1f} GiB free in {folder}"
    cure = "Free some space, or choose a folder on another disk with --out."
    if free_gib < LEAST_DISK_GIB:
        return broken("results", found, cure=cure)
    if free_gib < ENOUGH_DISK_GIB:
        return warning("results", found, cure=cure)
    return ok("results", found)


def check_scratch(place: Place) -> Finding:
    """Room where Ray keeps its session."""
    folder = Path(place.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    cure = "Free some space there, or set RAY_TMPDIR to a folder on another disk."
    obstacle = _write_obstacle(folder)
    if obstacle is not None:
        return broken("scratch", obstacle, cure=cure)
    usage = shutil.disk_usage(folder)
    full_frac = 1 - usage.free / usage.total
    found = f"{folder}, on a disk that is {full_frac:.0%} full"
    if full_frac > FULL_FRAC:
        return warning("scratch", found, cure=cure)
    return ok("scratch", found)


def check_caches(place: Place) -> Finding:
    """Whether models, baselines and measured costs can be kept."""
    folders = {
        "HF_HOME": hub_cache(place.environ),
        "XDG_CACHE_HOME": cache_folder(),
    }
    texts = []
    for variable, folder in folders.items():
        existing = Place(folder, place.environ).existing
        obstacle = _write_obstacle(existing)
        if obstacle is not None:
            return broken("caches", obstacle, cure=f"Set {variable} to a folder of your own.")
        texts.append(f"{folder} ({shutil.disk_usage(existing).free / GIB:.1f} GiB free)")
    return ok("caches", ", ".join(texts))


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Return where the hub's client keeps models (docs: huggingface_hub, environment variables)."""
    home = environ.get("HF_HOME")
    if home is None:
        cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = f"{cache}/huggingface"
    return Path(environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _write_obstacle(folder: Path) -> str | None:
    """Make a folder inside ``folder`` and remove it; say why where that fails."""
    try:
        Path(tempfile.mkdtemp(prefix=".strictune-doctor-", dir=folder)).rmdir()
    except OSError as error:
        return f"{folder} cannot be written to ({error.strerror})"
    return None
