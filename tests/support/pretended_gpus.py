"""Lets accelerate shard a model over processes without GPUs, which it quietly refuses to.

PyTorch and DeepSpeed can: tensors stay on the CPU and travel by gloo. So what differs from real
GPUs is their speed and NCCL.
"""

import importlib
import os
from typing import Any

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from trainables import distributed, trainer_arguments

__all__ = ["PRETENDING", "pretend_gpus"]

PRETENDING = {"ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu"}
"""The environment of a process that pretends."""


def pretend_gpus(strategy: str) -> None:
    """Make this process, which trains with ``PRETENDING``, take itself for one with a GPU."""
    assert PRETENDING.items() <= os.environ.items()

    def prepare(*_: Any, **__: Any) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    PartialState._prepare_backend = prepare
    for module in (distributed, trainer_arguments):
        module.training_device = lambda: "cuda"
    if strategy == "zero3":
        # Its collectives in shared memory would be compiled now, for minutes.
        backend: Any = importlib.import_module("deepspeed.comm.torch")
        backend.build_shm_op = lambda: None
