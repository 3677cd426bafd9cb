"""The precisions that a sweep file may name, and what ``auto`` becomes on a device.

Which device that is, and what it computes in hardware, others know: ``trainables.precision`` where
a trial runs, ``strictune.hardware`` for the plan.
"""

from typing import Literal, get_args

__all__ = ["DTYPES", "ComputeDtype", "Dtype", "auto_dtype"]

ComputeDtype = Literal["bfloat16", "float16", "float32"]
Dtype = Literal["auto", ComputeDtype]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


def auto_dtype(
    device: Literal["cuda", "cpu"], *, has_bfloat16: bool, quantization: Literal["nf4", "none"]
) -> ComputeDtype:
    """Return the precision that suits a device.

    A processor that emulates bfloat16 multiplies 58 times slower in it than in float32 (AVX2,
    measured). A card that lacks it (Turing, such as the T4) computes NF4 in float16 under loss
    scaling; a base that is not quantized stays in float32, where nothing can overflow.

    Args:
        device: What computes.
        has_bfloat16: It does so in hardware.
        quantization: Of the base.
    """
    if has_bfloat16:
        return "bfloat16"
    return "float16" if device == "cuda" and quantization == "nf4" else "float32"
