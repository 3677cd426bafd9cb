"""A GPU that torch believes in, for tests of what is asked of it."""

from types import SimpleNamespace

import pytest
import torch

GIB = 2**30


class FakeGpu:
    """torch.cuda on a GPU of 24 GiB, of which this process's allocator holds 3.

    Its tensors took 4 GiB at most, and 5 were reserved for them.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free_gib: float = 20.0) -> None:
        self.fraction = 1.0
        answers = {
            "is_available": lambda: True,
            "memory_reserved": lambda: 3 * GIB,
            "max_memory_allocated": lambda: 4 * GIB,
            "max_memory_reserved": lambda: 5 * GIB,
            "mem_get_info": lambda: (free_gib * GIB, 24 * GIB),
            "get_device_properties": lambda _: SimpleNamespace(total_memory=24 * GIB),
            "set_per_process_memory_fraction": self._limit,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)

    def _limit(self, fraction: float) -> None:
        self.fraction = fraction
