"""The checks of ``strictune doctor``: cores, memory, files, disks, the model hub, and tries.

Packages are checked in ``software``; the tries run in processes of their own.
"""

import resource
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from strictune.cache import cache_folder
from strictune.doctor.examination import Check, Finding, Place, broken, ok, try_in_process, warning
from strictune.doctor.software import check_packages, check_python
from strictune.errors import SpecError
from strictune.hardware import this_machine
from strictune.served import COMMAND_VARIABLE, vllm_command
from trainables.devices import GIB

__all__ = [
    "CHECKS",
    "check_caches",
    "check_cores",
    "check_disk",
    "check_hub",
    "check_memory",
    "check_open_files",
    "check_scratch",
    "check_vllm",
]

LEAST_MEMORY_GIB, ENOUGH_MEMORY_GIB = 1.0, 4.0
LEAST_DISK_GIB, ENOUGH_DISK_GIB = 1.0, 10.0
ENOUGH_FILES = 4096
"""Below it Ray warns."""
FULL_FRAC = 0.95
"""Ray moves no objects to a disk that is fuller (RAY_local_fs_capacity_threshold)."""
HUB = "https://huggingface.co"
HUB_TIMEOUT_S = 5.0
WITHOUT_HUB = (
    "Without it there are local models (see chat templates), folders and, from the "
    "package index, package:smollm2-135m."
)
MODEL_TRIES = (
    "gpu",
    "precision",
    "triton",
    "attention",
    "nf4",
    "transformers",
    "continuous batching",
    "deepspeed",
    "chat templates",
)
PROCESS_LIMIT_S = 180.0
"""Generous: importing torch and starting Ray take half a minute on two busy cores."""
CHECK_LIMIT_S = PROCESS_LIMIT_S + 15


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
    return _graded(
        "memory",
        f"{free_gib:.1f} GiB free for trials",
        free_gib,
        bounds=(LEAST_MEMORY_GIB, ENOUGH_MEMORY_GIB),
        cure="End other programs. `strictune plan` says what a sweep's trials take.",
    )


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
    return _graded(
        "results",
        f"{free_gib:.1f} GiB free in {folder}",
        free_gib,
        bounds=(LEAST_DISK_GIB, ENOUGH_DISK_GIB),
        cure="Free some space, or choose a folder on another disk with --out.",
    )


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
    from huggingface_hub import constants  # Reads the environment once, when it is imported.

    folders = {"HF_HOME": Path(constants.HF_HUB_CACHE), "XDG_CACHE_HOME": cache_folder()}
    texts = []
    for variable, folder in folders.items():
        existing = Place(folder, place.environ).existing
        obstacle = _write_obstacle(existing)
        if obstacle is not None:
            return broken("caches", obstacle, cure=f"Set {variable} to a folder of your own.")
        texts.append(f"{folder} ({shutil.disk_usage(existing).free / GIB:.1f} GiB free)")
    return ok("caches", ", ".join(texts))


def check_hub(place: Place) -> Finding:
    """Whether the model hub answers; sweeps of local models do without it."""
    environ = place.environ
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return warning(
                "model hub",
                f"offline, by {variable}",
                cure=f"To have models downloaded: unset {variable}. {WITHOUT_HUB}",
            )
    endpoint = environ.get("HF_ENDPOINT", HUB).rstrip("/")
    try:
        # Any answer will do, also an error status.
        urllib.request.urlopen(
            urllib.request.Request(endpoint, method="HEAD"), timeout=HUB_TIMEOUT_S
        ).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return warning(
            "model hub",
            f"offline: {endpoint} does not answer ({reason})",
            cure=f"Check the network, HTTPS_PROXY and HF_ENDPOINT. {WITHOUT_HUB}",
        )
    has_token = bool(environ.get("HF_TOKEN"))
    token = "a token is set" if has_token else "no HF_TOKEN, which gated models such as Gemma need"
    return ok("model hub", f"{endpoint} answers; {token}")


def check_vllm(place: Place) -> Finding:
    """Whether the command that starts vLLM runs; a server takes minutes, and a sweep."""
    try:
        command = vllm_command(None)
    except SpecError:
        return ok(
            "vllm",
            f"no command of that name, which rollouts.engine: vllm alone needs; {COMMAND_VARIABLE} "
            "would name another",
        )
    cure = f"Run it by hand to see why; {COMMAND_VARIABLE} names another one."
    shown = " ".join([*command, "--version"])
    try:
        ended = subprocess.run(
            [*command, "--version"],
            capture_output=True,
            text=True,
            timeout=PROCESS_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return warning("vllm", f"{shown}: {error}", cure=cure)
    said = (ended.stdout.strip() or ended.stderr.strip() or "no output").splitlines()[-1]
    if ended.returncode:
        return warning("vllm", f"{shown} ended with {ended.returncode}: {said}", cure=cure)
    return ok("vllm", f"{said} by {command[0]}; no server was started")


def _trying(
    module: str, *names: str, needs_out: bool = False
) -> Callable[[Place], Sequence[Finding]]:
    """Return a check that runs a module in a process of its own."""
    return lambda place: try_in_process(
        module, *([str(place.out)] if needs_out else []), names=names, limit_s=PROCESS_LIMIT_S
    )


def _graded(
    name: str, found: str, value: float, *, bounds: tuple[float, float], cure: str
) -> Finding:
    """Return broken below the first bound, a warning below the second, else ok."""
    least, enough = bounds
    if value >= enough:
        return ok(name, found)
    return (broken if value < least else warning)(name, found, cure=cure)


def _write_obstacle(folder: Path) -> str | None:
    """Return why ``folder`` cannot be written to, or None; nothing is left there."""
    try:
        Path(tempfile.mkdtemp(prefix=".strictune-doctor-", dir=folder)).rmdir()
    except OSError as error:
        return f"{folder} cannot be written to ({error.strerror})"
    return None


CHECKS = (
    Check("python", check_python),
    Check("packages", check_packages),
    Check("cores", check_cores),
    Check("memory", check_memory),
    Check("open files", check_open_files),
    Check("results", check_disk),
    Check("scratch", check_scratch),
    Check("caches", check_caches),
    Check("model hub", check_hub, late="warning"),
    Check("models", _trying("strictune.doctor.try_model", *MODEL_TRIES), limit_s=CHECK_LIMIT_S),
    Check("vllm", check_vllm, limit_s=CHECK_LIMIT_S, late="warning"),
    Check("ray", _trying("strictune.launch.try_ray", "ray"), limit_s=CHECK_LIMIT_S),
    Check(
        "mlflow",
        _trying("strictune.doctor.try_mlflow", "mlflow", needs_out=True),
        limit_s=CHECK_LIMIT_S,
    ),
)
