"""GPUs that were granted and cannot be used: what is found, and what helps."""

import subprocess

import pytest
import torch

from strictune.errors import TrialError
from trainables import devices
from trainables.devices import PRETENDED_GPUS, gpu_problem, require_gpu

GPU = "NVIDIA H200 (driver 570.86.15)"
V100, T4, L4, H200, B200, RTX_5090 = (7, 0), (7, 5), (8, 9), (9, 0), (10, 0), (12, 0)
BUILT_FOR_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    *,
    gpus: str = GPU,
    built_for: str | None = "13.0",
    capabilities: list[tuple[int, int]] | None = None,
    kernels: list[str] | None = None,
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capabilities is not None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities or ()))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: (capabilities or ())[i])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: kernels or [])
    monkeypatch.setattr(devices, "driver_gpus", lambda: gpus)
    monkeypatch.delenv(PRETENDED_GPUS, raising=False)


@pytest.mark.parametrize(
    ("seen", "found", "cure"),
    [
        pytest.param(
            {},
            f"{GPU}, but torch 2.13.0, built for CUDA 13.0, cannot use it",
            "Update the driver to one for CUDA 13.0 (580 or newer)",
            id="old-driver",
        ),
        pytest.param(
            {"built_for": "12.8"}, "built for CUDA 12.8", "(525 or newer)", id="older-driver"
        ),
        pytest.param(
            {"built_for": None},
            f"{GPU}, but torch 2.13.0 is built without CUDA",
            "install a build of torch for CUDA in its place",
            id="cpu-build",
        ),
        pytest.param({"gpus": ""}, "nvidia-smi shows no GPU", "--gpus all", id="no-driver"),
        pytest.param(
            {"capabilities": [V100], "kernels": BUILT_FOR_13},
            "GPU 0 has compute capability 7.0, and torch 2.13.0, built for CUDA 13.0, has "
            "kernels for sm_75, sm_80",
            "Use another GPU",
            id="old-GPU",
        ),
        pytest.param(
            {"capabilities": [H200, V100], "kernels": BUILT_FOR_13}, "GPU 1", "", id="the-second"
        ),
        pytest.param(
            {"capabilities": [B200], "kernels": ["sm_80", "sm_90a"]}, "10.0", "", id="new-GPU"
        ),
    ],
)
def test_a_gpu_that_torch_cannot_use_fails_a_process_that_was_granted_it(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, object], found: str, cure: str
) -> None:
    pretend(monkeypatch, **seen)
    problem = gpu_problem()
    assert problem is not None
    assert found in problem.found
    assert cure in problem.cure
    with pytest.raises(TrialError) as raised:
        require_gpu()
    for words in (problem.found, problem.cure, "resources.gpus_per_trial = 0"):
        assert words in str(raised.value)


@pytest.mark.parametrize(
    ("capability", "kernels"),
    [
        pytest.param(T4, BUILT_FOR_13, id="turing"),
        pytest.param(L4, BUILT_FOR_13, id="newer-than-its-kernels"),
        pytest.param(RTX_5090, BUILT_FOR_13, id="three-digits"),
        pytest.param(B200, ["sm_80", "compute_90"], id="by-intermediate-code"),
        pytest.param(H200, ["sm_90a"], id="kernels-of-one-architecture"),
        pytest.param(H200, [], id="a-build-that-does-not-say"),
    ],
)
def test_a_gpu_that_torch_has_kernels_for_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kernels: list[str]
) -> None:
    pretend(monkeypatch, capabilities=[capability], kernels=kernels)
    assert gpu_problem() is None
    require_gpu()


def test_tests_may_pretend_to_have_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    monkeypatch.setenv(PRETENDED_GPUS, "1")
    require_gpu()


def test_the_drivers_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0, stdout="NVIDIA H200, 570.86.15\n" * 2)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)
    assert devices.driver_gpus() == f"{GPU}; {GPU}"


def test_a_machine_without_the_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert devices.driver_gpus() == ""
