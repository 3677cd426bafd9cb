"""Tries what trials compute with: precisions, a Triton kernel, kinds of attention, NF4.

Imports neither TRL nor Ray, so that it runs where they are missing. ``try_model`` has the
process that it runs in.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import get_args

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import get_peft_model
from transformers import PreTrainedModel

from strictune.config import Attention, ComputeDtype, LoraSpec
from strictune.doctor.examination import Finding, broken, ok, warning
from strictune.errors import TrialError
from trainables.attention import attention_obstacle
from trainables.models import (
    load_base_model,
    load_tokenizer,
    lora_config,
    resolve_model,
    training_device,
)
from trainables.precision import resolve_dtype

__all__ = ["PROBED_MODEL", "try_attention", "try_nf4", "try_precision", "try_triton"]

PROBED_MODEL = "builtin:tiny"
MAX_RELATIVE_ERROR = 0.03
"""bfloat16 keeps about 2.5 digits; a wrong kernel is off by the size of the values."""
CURE = "Install the tested versions: pip install -c constraints.txt -e . in the checkout."


def try_precision() -> Finding:
    """Name the precision that ``dtype: auto`` takes here; warn where bfloat16 is emulated."""
    nf4, plain = (resolve_dtype("auto", quantization=kind) for kind in ("nf4", "none"))
    names: tuple[ComputeDtype, ...] = get_args(ComputeDtype)
    refused = [dtype for dtype in names if not _is_possible(dtype)]
    found = f"auto computes in {nf4}"
    if plain != nf4:
        found += f", and in {plain} with quantization: none"
    if refused:
        found += f"; {', '.join(refused)} refused"
    if "bfloat16" in (nf4, *refused):
        return ok("precision", found)
    return warning(
        "precision",
        f"{found}; bfloat16 is emulated and slow",
        cure="Set trial.dtype to auto where a sweep file says bfloat16.",
    )


def _is_possible(dtype: ComputeDtype) -> bool:
    try:
        resolve_dtype(dtype, quantization="none")
    except TrialError:
        return False
    return True


def try_triton() -> Finding:
    """Whether Triton compiles and runs a kernel, as it does for TRL's loss on a GPU."""
    if not torch.cuda.is_available():
        return ok("triton", "not for this machine: its kernels run on GPUs")
    try:
        from strictune.doctor.triton_kernel import computes
    except ImportError:
        return warning(
            "triton",
            "not installed: TRL computes its loss without it, slower and with more memory",
            cure="pip install triton",
        )
    started = time.monotonic()
    try:
        is_right = computes()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        lacks = " and ".join(_missing_for_compiling()) or "nothing that it needs is missing"
        reason = " ".join(str(error).split())[:200]
        return broken("triton", f"a kernel did not compile ({lacks}): {reason}", cure=COMPILER_CURE)
    if not is_right:
        return broken("triton", "a kernel computed something else", cure=CURE)
    return ok("triton", f"compiled and ran a kernel in {time.monotonic() - started:.1f} s")


_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
COMPILER_CURE = (
    "Install a C compiler and Python's headers, e.g. apt-get install gcc "
    f"python{_VERSION}-dev, or name a compiler in the environment variable CC."
)


def _missing_for_compiling() -> list[str]:
    """Name what Triton looks for and does not find (``triton/runtime/build.py``)."""
    missing = []
    compilers = (os.environ.get("CC"),) if os.environ.get("CC") else ("gcc", "clang")
    if not any(shutil.which(name) for name in compilers if name):
        missing.append(f"no C compiler: {', '.join(filter(None, compilers))}")
    header = Path(sysconfig.get_config_var("INCLUDEPY")) / "Python.h"
    if not header.is_file():
        missing.append(f"no {header}")
    return missing


def try_attention() -> Finding:
    """Name the kinds of attention that ``trial.attn_implementation`` may ask for here."""
    kinds: tuple[Attention, ...] = get_args(Attention)
    missing = [kind for kind in kinds if attention_obstacle(kind, "bfloat16") is not None]
    usable = [kind for kind in kinds if kind not in missing]
    there = ", ".join(usable)
    return ok("attention", there + (f"; not here: {', '.join(missing)}" if missing else ""))


def try_nf4() -> Finding:
    """Evaluate and train a step on the quantized model; check a layer and the adapters' gradients.

    The evaluation comes first, as between two stages: state that an inference kernel leaves behind
    would show in the gradients.
    """
    started = time.monotonic()
    source = resolve_model(PROBED_MODEL)
    dtype = resolve_dtype("auto", quantization="nf4")
    error = _layer_error(load_base_model(source, quantization="nf4", dtype=dtype))
    base = load_base_model(source, quantization="nf4", dtype=dtype)
    model = get_peft_model(base, lora_config(LoraSpec(r=4)))
    adapters = [p for p in model.parameters() if p.requires_grad]
    for parameter in adapters:
        torch.nn.init.normal_(parameter, std=0.02)  # At zero, half of the gradients are zero too.
    text = "Describe a bridge. " * 8
    ids = torch.tensor([load_tokenizer(source)(text)["input_ids"]], device=model.device)
    with torch.no_grad():
        model.eval()(input_ids=ids)
    model.train()(input_ids=ids, labels=ids).loss.backward()
    dead = sum(
        p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any() for p in adapters
    )
    found = f"on {training_device()} in {dtype}: a layer is off by {error:.1%}, "
    found += f"{len(adapters) - dead} of {len(adapters)} adapter matrices have a gradient"
    if dead or error > MAX_RELATIVE_ERROR:
        return broken(
            "nf4", found, cure=f"Set trial.quantization to none in sweep files, or: {CURE}"
        )
    return ok("nf4", f"{found}; {time.monotonic() - started:.1f} s")


def _layer_error(model: PreTrainedModel) -> float:
    """Compare a quantized layer with the product of its dequantized weights, also backwards.

    Returns:
        The larger relative error of output and input gradient, in the 2-norm.
    """
    layer = next(module for module in model.modules() if isinstance(module, Linear4bit))
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()  # (O, I)
    torch.manual_seed(0)
    ours = torch.randn(16, weight.shape[1], device=weight.device, dtype=model.dtype)
    ours.requires_grad_()
    exact = ours.detach().float().requires_grad_()
    output, expected = layer(ours), exact @ weight.T  # (16, O)
    direction = torch.randn_like(expected)
    output.backward(direction.to(output.dtype))
    expected.backward(direction)
    assert ours.grad is not None and exact.grad is not None
    return max(_distance(output, expected), _distance(ours.grad, exact.grad))


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected).detach().norm() / expected.detach().norm())
