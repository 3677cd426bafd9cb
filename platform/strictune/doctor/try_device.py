"""Tries what trials compute with: precisions, a Triton kernel, kinds of attention, NF4.

Imports neither TRL nor Ray, so that it runs where they are missing. ``try_model`` has the
process that it runs in.
"""

import os
import shutil
import statistics
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
    TORCH_DTYPES,
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

NAMES: tuple[ComputeDtype, ...] = ("float32", "bfloat16", "float16")
SIDE = 1024
"""Of the matrices that are multiplied."""
NUM_TIMED = 5
PER_SAMPLE = {"cpu": 1, "cuda": 50}
"""Products between two looks at the clock: on a GPU one alone ends before it is asked for."""
SLOW_S = 1.0
"""A first product that took longer is not repeated."""
FASTER = 2.0
"""Smaller ratios are within the noise of other programs."""


def try_precision() -> Finding:
    """Time matrix products in each precision, and check that ``dtype: auto`` takes a fast one."""
    speeds = {dtype: _gflops(dtype) for dtype in NAMES if _is_possible(dtype)}
    chosen = {
        quantization: resolve_dtype("auto", quantization=quantization)
        for quantization in ("nf4", "none")
    }
    found = ", ".join(f"{dtype} {_rounded(speed)} GFLOP/s" for dtype, speed in speeds.items())
    found += " on one thread" if training_device() == "cpu" else ""
    found += "".join(f", {dtype} refused" for dtype in NAMES if dtype not in speeds)
    found += f": auto computes in {chosen['nf4']}"
    if chosen["none"] != chosen["nf4"]:
        found += f", and in {chosen['none']} with quantization: none"
    slowest = min(chosen.values(), key=speeds.__getitem__)
    return _precision_finding(speeds, slowest=slowest, found=found)


def _precision_finding(
    speeds: dict[ComputeDtype, float], *, slowest: ComputeDtype, found: str
) -> Finding:
    """Warn where ``auto`` takes a slow precision, or a sweep file might.

    float16 is left out of the comparison: training in it can overflow, so ``auto`` takes it only
    where it has to.
    """
    safe = {dtype: speeds[dtype] for dtype in ("float32", "bfloat16") if dtype in speeds}
    fastest = max(safe, key=safe.__getitem__)
    if speeds[fastest] > FASTER * speeds[slowest]:
        factor = speeds[fastest] / speeds[slowest]
        return warning(
            "precision",
            f"{found}, although {fastest} is {factor:.0f} times as fast",
            cure=f"Set trial.dtype to {fastest} in sweep files for this machine.",
        )
    if "bfloat16" in safe and safe["float32"] > FASTER * safe["bfloat16"]:
        factor = safe["float32"] / safe["bfloat16"]
        return warning(
            "precision",
            f"{found}; bfloat16 is emulated, {factor:.0f} times slower than float32",
            cure="Set trial.dtype to auto where a sweep file says bfloat16.",
        )
    return ok("precision", found)


def _is_possible(dtype: ComputeDtype) -> bool:
    try:
        resolve_dtype(dtype, quantization="none")
    except TrialError:
        return False
    return True


def _gflops(dtype: ComputeDtype) -> float:
    """Return the speed of matrix products; on a CPU by the seconds of its own, on one thread."""
    device = training_device()
    matrix = torch.randn(SIDE, SIDE, device=device).to(TORCH_DTYPES[dtype])
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = _product_s(matrix)  # Warms up.
        if seconds < SLOW_S:
            seconds = statistics.median(_product_s(matrix) for _ in range(NUM_TIMED))
    finally:
        torch.set_num_threads(num_threads)
    return 2 * SIDE**3 / seconds / 1e9


def _product_s(matrix: torch.Tensor) -> float:
    clock = time.process_time if matrix.device.type == "cpu" else time.perf_counter
    count = PER_SAMPLE[matrix.device.type]
    started = clock()
    for _ in range(count):
        torch.mm(matrix, matrix)
    if matrix.device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - started) / count


def _rounded(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"


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
