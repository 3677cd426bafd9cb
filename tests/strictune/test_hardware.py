import os
from pathlib import Path

import pytest

from strictune import hardware
from strictune.hardware import parse_gpus, this_machine
from strictune.packing import Gpu
from trainables import devices

LIST = "NVIDIA H100 80GB HBM3, 81559, 9.0\nNVIDIA A10, 23028, 8.6\n"
H100 = Gpu(name="NVIDIA H100 80GB HBM3", memory_gib=81559 / 1024)
A10 = Gpu(name="NVIDIA A10", memory_gib=23028 / 1024)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        pytest.param(None, [H100, A10], id="all"),
        pytest.param("1", [A10], id="by-number"),
        pytest.param("1,0", [A10, H100], id="in-its-order"),
        pytest.param("5", [], id="beyond-the-list"),
        pytest.param("", [], id="none"),
        pytest.param("-1", [], id="none-by-a-negative-number"),
        pytest.param("NoDevFiles", [], id="none-by-a-word"),
        pytest.param("1,-1,0", [A10], id="up-to-the-first-that-names-none"),
        pytest.param("0,7,1", [H100], id="up-to-the-first-beyond-the-list"),
        pytest.param("GPU-5c9f", [H100], id="by-uuid"),
        pytest.param("MIG-1, MIG-2, MIG-3", [H100, A10], id="by-parts-of-GPUs"),
    ],
)
def test_gpus_that_cuda_hides_are_left_out(visible: str | None, gpus: list[Gpu]) -> None:
    assert parse_gpus(LIST, visible=visible) == gpus


@pytest.mark.parametrize("text", ["", "No devices were found\n", "NVIDIA GB10, [N/A], 12.1\n"])
def test_a_list_without_gpus_is_empty(text: str) -> None:
    assert parse_gpus(text, visible=None) == []


def test_a_gpu_before_ampere_has_no_bfloat16_in_hardware() -> None:
    [t4, a10] = parse_gpus("Tesla T4, 15360, 7.5\nNVIDIA A10, 23028, 8.6\n", visible=None)
    assert (t4.has_bfloat16, a10.has_bfloat16) == (False, True)


def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()
    assert machine.cpus >= 1
    assert 0.1 < machine.memory_gib < 100_000


def test_the_smallest_gpu_stands_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "nvidia_smi", lambda query: LIST)
    machine = this_machine()
    assert (machine.gpus, machine.gpu) == (2, A10)


def test_a_machine_without_the_drivers_tool_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "NVIDIA_SMI", "/nonexistent/nvidia-smi")
    assert (this_machine().gpus, this_machine().gpu) == (0, None)


CORES = 64
IN_A_SLICE = "0::/system.slice/sweep.service\n"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        pytest.param(IN_A_SLICE, {}, CORES, id="no-limit"),
        pytest.param("0::/\n", {"cpu.max": "max 100000"}, CORES, id="no-quota"),
        pytest.param("0::/\n", {"cpu.max": "200000 100000"}, 2, id="container"),
        pytest.param("0::/\n", {"cpu.max": "250000 100000"}, 2, id="rounded-down"),
        pytest.param("0::/\n", {"cpu.max": "50000 100000"}, 1, id="one-at-least"),
        pytest.param("0::/\n", {"cpu.max": "9900000 100000"}, CORES, id="more-than-there-are"),
        pytest.param(
            IN_A_SLICE,
            {"system.slice/cpu.max": "300000 100000"},
            3,
            id="of-a-slice-above",
        ),
        pytest.param(
            IN_A_SLICE,
            {
                "system.slice/cpu.max": "300000 100000",
                "system.slice/sweep.service/cpu.max": "400000 100000",
            },
            3,
            id="the-tightest",
        ),
        pytest.param(
            "4:memory:/docker/5f\n3:cpu,cpuacct:/docker/5f\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "50000"},
            3,
            id="version-1-in-a-container",
        ),
        pytest.param(
            "1:cpu:/slurm/job_7\n0::/\n",
            {
                "cpu/slurm/job_7/cpu.cfs_quota_us": "400000",
                "cpu/slurm/job_7/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            4,
            id="version-1-in-a-job",
        ),
        pytest.param(None, {}, CORES, id="no-cgroups"),
    ],
)
def test_cores_are_those_that_quotas_leave(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    own: str | None,
    files: dict[str, str],
    cores: int,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    if own is not None:
        (tmp_path / "own").write_text(own)
    monkeypatch.setattr(hardware, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(hardware, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(CORES)))
    assert this_machine().cpus == cores


def test_cores_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert this_machine().cpus == 1
