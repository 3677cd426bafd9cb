"""The precision that a trial computes in, resolved where it runs."""

import logging
from pathlib import Path
from typing import Literal

import torch

from strictune.config import ComputeDtype, Dtype, TrialSpec, auto_dtype
from strictune.errors import TrialError
from strictune.records import read_lock
from trainables.devices import cpu_has_bfloat16
from trainables.models import training_device

__all__ = ["resolve_dtype", "trial_dtype"]

logger = logging.getLogger(__name__)

_NAMES = {"cpu": "processor", "cuda": "GPU"}


def trial_dtype(spec: TrialSpec, folder: Path) -> ComputeDtype:
    """Return the precision of the trial in ``folder``: a resumed one keeps its own.

    Raises:
        TrialError: This process's device cannot compute in it.
    """
    lock = read_lock(folder)
    dtype: Dtype = spec.dtype if lock is None or lock.dtype is None else lock.dtype
    return resolve_dtype(dtype, quantization=spec.quantization)


def resolve_dtype(dtype: Dtype, *, quantization: Literal["nf4", "none"]) -> ComputeDtype:
    """Return what ``dtype`` means on this process's device.

    Raises:
        TrialError: The device cannot compute in it.
    """
    device = training_device()
    if dtype == "auto":
        found = auto_dtype(device, has_bfloat16=_has_bfloat16(device), quantization=quantization)
        logger.info("dtype=auto became %s on this %s", found, _NAMES[device])
        return found
    _refuse_impossible(dtype, device)
    if dtype == "bfloat16" and not _has_bfloat16(device):
        logger.warning(
            "dtype=bfloat16 is emulated on this %s and slow: auto would take %s",
            _NAMES[device],
            auto_dtype(device, has_bfloat16=False, quantization=quantization),
        )
    return dtype


def _has_bfloat16(device: Literal["cuda", "cpu"]) -> bool:
    if device == "cpu":
        return cpu_has_bfloat16()
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _refuse_impossible(dtype: ComputeDtype, device: Literal["cuda", "cpu"]) -> None:
    if dtype == "float16" and device == "cpu":
        raise TrialError(
            "trial.dtype = float16, but this trial computes on a CPU, where training in float16 "
            "needs a GPU's loss scaling. Set trial.dtype to auto, bfloat16 or float32."
        )
    if dtype == "bfloat16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise TrialError(
            f"trial.dtype = bfloat16, but {torch.cuda.get_device_name()} cannot compute in it. Set "
            "trial.dtype to auto, float16 or float32."
        )
