import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from strictune.config import ComputeDtype, Dtype, TrialSpec, auto_dtype
from strictune.errors import TrialError
from trainables import devices, precision
from trainables.devices import cpu_has_bfloat16
from trainables.precision import resolve_dtype, trial_dtype


class PretendedDevice:
    """A GPU or processor with or without bfloat16, as this process sees it."""

    def __init__(self, patch: pytest.MonkeyPatch, *, device: str, has_bfloat16: bool) -> None:
        patch.setattr(precision, "training_device", lambda: device)
        patch.setattr(precision, "cpu_has_bfloat16", lambda: has_bfloat16)

        def is_supported(including_emulation: bool = True) -> bool:
            return has_bfloat16 or including_emulation

        patch.setattr(torch.cuda, "is_bf16_supported", is_supported)


@pytest.mark.parametrize(
    ("device", "has_bfloat16", "quantization", "expected"),
    [
        pytest.param("cpu", True, "nf4", "bfloat16", id="cpu-with-bfloat16"),
        pytest.param("cpu", False, "nf4", "float32", id="cpu-without"),
        pytest.param("cuda", True, "nf4", "bfloat16", id="ampere"),
        pytest.param("cuda", False, "nf4", "float16", id="turing"),
        pytest.param("cuda", False, "none", "float32", id="turing-unquantized"),
    ],
)
def test_auto_is_what_the_device_computes_fast(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    device: Any,
    has_bfloat16: bool,
    quantization: Any,
    expected: ComputeDtype,
) -> None:
    PretendedDevice(monkeypatch, device=device, has_bfloat16=has_bfloat16)
    caplog.set_level(logging.INFO)
    assert resolve_dtype("auto", quantization=quantization) == expected
    assert f"dtype=auto became {expected}" in caplog.text
    assert auto_dtype(device, has_bfloat16=has_bfloat16, quantization=quantization) == expected


def test_emulated_bfloat16_is_computed_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    PretendedDevice(monkeypatch, device="cpu", has_bfloat16=False)
    assert resolve_dtype("bfloat16", quantization="nf4") == "bfloat16"
    assert "slow: auto would take float32" in caplog.text


def test_float16_is_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    PretendedDevice(monkeypatch, device="cpu", has_bfloat16=True)
    with pytest.raises(TrialError, match=r"trial\.dtype = float16, but .* CPU.*auto, bfloat16"):
        resolve_dtype("float16", quantization="nf4")


def spec_with(dtype: Dtype) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "model": "builtin:tiny",
            "task": {"kind": "strict_json"},
            "grpo": {"max_steps": 1},
            "dtype": dtype,
        }
    )


def test_a_resumed_trial_keeps_its_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    PretendedDevice(monkeypatch, device="cpu", has_bfloat16=True)
    assert trial_dtype(spec_with("auto"), tmp_path) == "bfloat16"
    lock = {"dtype": "float32", "evaluation_key": {}, "baseline_key": {}, "baseline": "b"}
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    assert trial_dtype(spec_with("auto"), tmp_path) == "float32"


def test_the_processors_flags_say_what_torch_says() -> None:
    in_torch = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert cpu_has_bfloat16() == in_torch


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param("flags\t\t: fpu avx2 fma", False, id="avx2"),
        pytest.param("flags\t\t: fpu avx512f avx512vl", False, id="avx512-without-bf16"),
        pytest.param("flags\t\t: fpu avx512f avx512_bf16", True, id="avx512-bf16"),
        pytest.param("Features\t: fp asimd bf16", False, id="arm"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_a_processor_has_bfloat16_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, expected: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    assert cpu_has_bfloat16.__wrapped__() is expected
