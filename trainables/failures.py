"""Reasons of failed trials, and failures of the machine: disk and memory.

A trial that fails for a reason of its own would fail again. One that lacks disk or memory would
not, once it has more; so it is paused, and stays open.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import distributed

from strictune.errors import StrictuneError, TrialPaused

__all__ = [
    "divergence_advice",
    "failure_reason",
    "has_lost_a_rank",
    "is_out_of_memory",
    "raise_if_paused",
]

NOT_A_DISTRIBUTION = "probability tensor contains"
"""What ``torch.multinomial`` says of the logits of a model whose weights are NaN, on a CPU."""
DEVICE_ASSERT = "device-side assert triggered"
"""What every CUDA call says once a kernel has refused its input, such as those logits."""
NO_MEMORY = re.compile(
    r"CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
)
"""How CUDA and its libraries say it where torch's own allocator is not asked."""
COLLECTIVE = re.compile(r"\bgloo\b|\bNCCL\b|\bProcessGroup", re.IGNORECASE)
"""What gloo and NCCL say when an exchange between ranks breaks off."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
FULL_BELOW_BYTES = 1 << 16
"""Libraries that write through C++ report a full disk in words of their own, so a disk with less
than this left counts as full whatever they say."""


def raise_if_paused(error: BaseException, folder: Path, *, may_grow: bool) -> None:
    """Raise ``TrialPaused`` in place of an error that more disk or memory would have prevented.

    One that is raised already is raised again.

    Args:
        error: What ended the attempt.
        folder: The trial's folder.
        may_grow: The trial can be given more memory.
    """
    if isinstance(error, TrialPaused):
        raise error
    if _is_disk_full(error, folder):
        raise TrialPaused(
            f"no space is left on the disk of {folder}. Make room, then resume the sweep.",
            lacks="disk",
        ) from error
    if may_grow and is_out_of_memory(error):
        raise TrialPaused(f"out of memory: {_first_line(error)}", lacks="memory") from error


def has_lost_a_rank(error: BaseException) -> bool:
    """Whether the error is that another rank of the trial is gone, and so not the trial's own."""
    return any(
        isinstance(cause, distributed.DistError)
        or (isinstance(cause, RuntimeError) and COLLECTIVE.search(str(cause)) is not None)
        for cause in _chain(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the host, had no more memory to give."""
    return any(
        isinstance(cause, torch.OutOfMemoryError | MemoryError)
        or (isinstance(cause, RuntimeError) and NO_MEMORY.search(str(cause)) is not None)
        for cause in _chain(error)
    )


def divergence_advice(method: str) -> str:
    """Return the advice for a training of ``method`` that diverged."""
    return (
        f"The training diverged: lower {method}.learning_rate or {method}.max_grad_norm, or train "
        "with dtype = float32."
    )


def failure_reason(error: BaseException, *, method: str) -> str:
    """Return why a trial of ``method`` failed."""
    if isinstance(error, StrictuneError):
        return str(error)
    if is_out_of_memory(error):
        return (
            f"out of memory: {_first_line(error)} Lower {method}.per_device_train_batch_size, "
            "grpo.max_completion_length or evaluation.batch_size, set "
            f"{method}.gradient_checkpointing = true, or raise resources.gpus_per_trial."
        )
    if isinstance(error, RuntimeError) and NOT_A_DISTRIBUTION in str(error):
        advice = divergence_advice(method)
        return f"the model's next-token probabilities are no numbers any more. {advice}"
    if isinstance(error, RuntimeError) and DEVICE_ASSERT in str(error):
        return (
            "a CUDA kernel refused its input, as sampling does once the model's next-token "
            f"probabilities are no numbers any more. {divergence_advice(method)} If it did not, "
            "run with CUDA_LAUNCH_BLOCKING=1 to see which kernel it was."
        )
    return f"{type(error).__name__}: {error}"


def _is_disk_full(error: BaseException, folder: Path) -> bool:
    if any(isinstance(cause, OSError) and cause.errno in FULL_DISK for cause in _chain(error)):
        return True
    return shutil.disk_usage(folder).free < FULL_BELOW_BYTES


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was raised from, or while handling."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
