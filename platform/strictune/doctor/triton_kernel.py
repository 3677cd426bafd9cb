"""A minimal Triton kernel; imported only where there is a GPU."""

import torch
import triton
import triton.language as tl

__all__ = ["computes"]

BLOCK = 1024


@triton.jit  # type: ignore[untyped-decorator]
def _double(source, target, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < count
    tl.store(target + places, 2 * tl.load(source + places, mask=inside), mask=inside)


def computes(device: str = "cuda") -> bool:
    """Compile the kernel for a device, run it, and say whether it computed the right thing."""
    source = torch.arange(3000, device=device, dtype=torch.float32)
    target = torch.empty_like(source)
    count = source.numel()
    _double[(triton.cdiv(count, BLOCK),)](source, target, count, BLOCK=BLOCK)
    return torch.equal(target, 2 * source)
