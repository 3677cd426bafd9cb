"""``lock.json``: what exactly produced a trial's numbers, and which process wrote last."""

import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainables.devices import cpu_name
from trainables.memory.measured import package_version
from trainables.models import training_device

__all__ = ["device_name", "lock_document"]

PACKAGES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "jsonschema-rs",
    "peft",
    "ray",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
)


def lock_document(**facts: Any) -> Mapping[str, Any]:
    """Return code, package versions and device, with the facts that the caller adds."""
    return {
        "git_sha": _git_sha(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "device": device_name(),
        "torch_threads": torch.get_num_threads(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        **facts,
    }


def _git_sha() -> str | None:
    """Return the commit of this checkout, with ``+dirty`` if files differ; None outside one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return os.environ.get("STRICTUNE_GIT_SHA")
    sha = _git(root, "rev-parse", "HEAD")
    if sha is None:
        return None
    return f"{sha}+dirty" if _git(root, "status", "--porcelain", "-uno") else sha


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def device_name() -> str:
    """Return the GPU of this process, or its processor."""
    if training_device() == "cuda":
        return str(torch.cuda.get_device_name())
    return cpu_name()
