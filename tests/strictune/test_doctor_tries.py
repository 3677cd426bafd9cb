"""The heavy checks, with the real thing: the tiny model, Ray, an MLflow store."""

import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tracking_fakes import empty_store

from strictune.doctor import Finding, Place, checks, try_device, try_mlflow, try_model
from strictune.doctor.examination import try_in_process
from strictune.errors import StorageError
from strictune.tracking.store import TrackingStore
from trainables import devices, precision
from trainables.models import ModelSource, resolve_model

LIMIT_S = 180.0
GPU = "NVIDIA H200 (driver 570.86.15)"


def test_the_names_that_are_waited_for_are_those_that_are_tried() -> None:
    assert set(checks.MODEL_TRIES) == try_model.NAMES.keys()


def test_models_work_here_or_say_why_not() -> None:
    found = try_in_process("strictune.doctor.try_model", names=checks.MODEL_TRIES, limit_s=LIMIT_S)
    # A processor that emulates bfloat16 is warned of.
    uncertain = ("chat templates", "precision")
    assert {finding.status for finding in found if finding.name not in uncertain} == {"ok"}
    by_name = {finding.name: finding.found for finding in found}
    assert re.search(r"float32 [\d,.]+ GFLOP/s.*: auto computes in (b?float)", by_name["precision"])
    assert by_name["attention"].startswith("eager, sdpa")
    assert "42 of 42 adapter matrices have a gradient" in by_name["nf4"]
    assert "builtin:tiny" in by_name["chat templates"]


@pytest.mark.ray
def test_ray_starts_here() -> None:
    (finding,) = try_in_process("strictune.launch.try_ray", names=("ray",), limit_s=LIMIT_S)
    assert finding.status == "ok"
    assert "ready in" in finding.found


def test_a_ray_that_is_not_there_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    (finding,) = try_in_process("strictune.launch.try_ray", names=("ray",), limit_s=LIMIT_S)
    assert finding.status == "broken"
    assert "RAY_ADDRESS = 127.0.0.1:1, but no cluster answers there" in finding.found
    assert "RAY_ADDRESS" in (finding.cure or "")


# GPUs, as drivers and builds of torch may show them.


def seen(
    monkeypatch: pytest.MonkeyPatch,
    *,
    gpus: str,
    built_for: str | None,
    visible: str | None = None,
) -> Finding:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    for module in (try_model, devices):
        monkeypatch.setattr(module, "driver_gpus", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    return try_model.try_gpu()


def test_a_machine_without_a_gpu_trains_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, gpus="", built_for=None).status == "ok"


@pytest.mark.parametrize(
    ("built_for", "visible", "status", "cure"),
    [
        pytest.param(None, None, "broken", "build of torch for CUDA", id="cpu-build"),
        pytest.param("13.0", None, "broken", "Update the driver", id="old-driver"),
        pytest.param("13.0", "", "warning", "unset CUDA_VISIBLE_DEVICES", id="hidden"),
    ],
)
def test_a_gpu_that_torch_cannot_use_has_a_cure(
    monkeypatch: pytest.MonkeyPatch,
    built_for: str | None,
    visible: str | None,
    status: str,
    cure: str,
) -> None:
    finding = seen(monkeypatch, gpus=GPU, built_for=built_for, visible=visible)
    assert finding.status == status
    assert GPU in finding.found
    assert cure in (finding.cure or "")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_gpu_that_works_is_named() -> None:
    finding = try_model.try_gpu()
    assert finding.status == "ok"
    assert torch.cuda.get_device_name(0) in finding.found


def test_a_gpu_without_bfloat16_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = types.SimpleNamespace(name="Tesla T4", total_memory=16 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: False)
    monkeypatch.setattr(try_model, "driver_gpus", lambda: GPU)
    monkeypatch.setattr(try_model, "gpu_problem", lambda: None)
    finding = try_model.try_gpu()
    assert (finding.status, finding.cure) == ("ok", None)


# What a device computes fast, and what `auto` makes of it.


def pretend_device(
    monkeypatch: pytest.MonkeyPatch, *, gpu: bool, has_bfloat16: bool, speeds: dict[str, float]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: (
            has_bfloat16 or (including_emulation and "bfloat16" in speeds)
        ),
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr(try_device, "_gflops", speeds.__getitem__)


@pytest.mark.parametrize(
    ("gpu", "has_bfloat16", "speeds", "status", "found", "cure"),
    [
        pytest.param(
            False, True, {"float32": 95, "bfloat16": 311}, "ok",
            "float32 95 GFLOP/s, bfloat16 311 GFLOP/s on one thread, float16 refused: "
            "auto computes in bfloat16", None, id="amx",
        ),
        pytest.param(
            False, False, {"float32": 58, "bfloat16": 1}, "warning",
            "float32 58 GFLOP/s, bfloat16 1.0 GFLOP/s on one thread, float16 refused: "
            "auto computes in float32; bfloat16 is emulated, 58 times slower than float32",
            "Set trial.dtype to auto", id="avx2",
        ),
        pytest.param(
            False, False, {"float32": 40, "bfloat16": 35}, "ok",
            "float32 40 GFLOP/s, bfloat16 35 GFLOP/s on one thread, float16 refused: "
            "auto computes in float32", None, id="as-fast",
        ),
        pytest.param(
            False, False, {"float32": 40, "bfloat16": 160}, "warning",
            "float32 40 GFLOP/s, bfloat16 160 GFLOP/s on one thread, float16 refused: "
            "auto computes in float32, although bfloat16 is 4 times as fast",
            "Set trial.dtype to bfloat16", id="fast-without-the-flag",
        ),
        pytest.param(
            False, True, {"float32": 94, "bfloat16": 1}, "warning",
            "float32 94 GFLOP/s, bfloat16 1.0 GFLOP/s on one thread, float16 refused: "
            "auto computes in bfloat16, although float32 is 94 times as fast",
            "Set trial.dtype to float32", id="slow-with-the-flag",
        ),
        pytest.param(
            True, True, {"float32": 50_000, "bfloat16": 700_000, "float16": 700_000}, "ok",
            "float32 50,000 GFLOP/s, bfloat16 700,000 GFLOP/s, float16 700,000 GFLOP/s: "
            "auto computes in bfloat16", None, id="ampere",
        ),
        pytest.param(
            True, False, {"float32": 7000, "bfloat16": 2000, "float16": 40_000}, "warning",
            "float32 7,000 GFLOP/s, bfloat16 2,000 GFLOP/s, float16 40,000 GFLOP/s: auto computes "
            "in float16, and in float32 with quantization: none; bfloat16 is emulated, 4 times "
            "slower than float32", "Set trial.dtype to auto", id="turing",
        ),
        pytest.param(
            True, False, {"float32": 7000, "float16": 7000}, "ok",
            "float32 7,000 GFLOP/s, float16 7,000 GFLOP/s, bfloat16 refused: auto computes in "
            "float16, and in float32 with quantization: none", None, id="no-bfloat16-at-all",
        ),
    ],
)  # fmt: skip
def test_auto_is_held_against_what_was_timed(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    has_bfloat16: bool,
    speeds: dict[str, float],
    status: str,
    found: str,
    cure: str | None,
) -> None:
    pretend_device(monkeypatch, gpu=gpu, has_bfloat16=has_bfloat16, speeds=speeds)
    finding = try_device.try_precision()
    assert (finding.status, finding.found) == (status, found)
    assert cure is None or (finding.cure or "").startswith(cure)


def test_timing_leaves_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert try_device._gflops("float32") > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# Triton, which compiles where it runs.


def tried_triton(monkeypatch: pytest.MonkeyPatch, computes: Callable[[], bool] | None) -> Finding:
    """Try a kernel that does ``computes``, or a Triton that is not installed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    module = None if computes is None else types.SimpleNamespace(computes=computes)
    monkeypatch.setitem(sys.modules, "strictune.doctor.triton_kernel", module)
    return try_device.try_triton()


def raising(error: Exception) -> Callable[[], bool]:
    def computes() -> bool:
        raise error

    return computes


def test_without_a_gpu_triton_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    finding = try_device.try_triton()
    assert (finding.status, finding.found[:20]) == ("ok", "not for this machine")


@pytest.mark.parametrize(
    ("computes", "status", "found"),
    [
        pytest.param(lambda: True, "ok", "compiled and ran", id="right"),
        pytest.param(lambda: False, "broken", "computed something else", id="wrong"),
        pytest.param(None, "warning", "not installed", id="no-triton"),
    ],
)
def test_a_kernel_is_compiled_and_run(
    monkeypatch: pytest.MonkeyPatch, computes: Callable[[], bool] | None, status: str, found: str
) -> None:
    finding = tried_triton(monkeypatch, computes)
    assert finding.status == status
    assert found in finding.found


NO_COMPILER = RuntimeError("Failed to find C compiler. Please specify via CC")
NO_HEADER = subprocess.CalledProcessError(1, ["gcc", "cuda_utils.c"])


@pytest.mark.parametrize(
    ("error", "cc", "has_header", "found"),
    [
        pytest.param(NO_COMPILER, None, True, "no C compiler: gcc, clang", id="no-compiler"),
        pytest.param(NO_COMPILER, "/no/icx", True, "no C compiler: /no/icx", id="cc-leads-nowhere"),
        pytest.param(NO_HEADER, sys.executable, False, "include/Python.h", id="no-headers"),
        pytest.param(OSError("no space"), sys.executable, True, "no space", id="otherwise"),
    ],
)
def test_what_a_kernel_lacks_has_a_cure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    cc: str | None,
    has_header: bool,
    found: str,
) -> None:
    include = tmp_path / "include"
    include.mkdir()
    if has_header:
        (include / "Python.h").touch()
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(include))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    if cc is not None:
        monkeypatch.setenv("CC", cc)
    finding = tried_triton(monkeypatch, raising(error))
    assert finding.status == "broken"
    assert found in finding.found
    assert re.search(r"gcc python3\.\d+-dev.*CC", finding.cure or "")


def test_the_kernel_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton comes with torch's builds for GPUs")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from strictune.doctor.triton_kernel import computes

    assert computes("cpu")


# What would be wrong with the quantization, and with templates.


def test_a_gradient_that_is_lost_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    load = try_device.get_peft_model

    def frozen(*args: object) -> torch.nn.Module:
        model: torch.nn.Module = load(*args)
        first = next(p for p in model.parameters() if p.requires_grad)
        first.register_hook(torch.zeros_like)
        return model

    monkeypatch.setattr(try_device, "get_peft_model", frozen)
    finding = try_device.try_nf4()
    assert finding.status == "broken"
    assert "41 of 42" in finding.found
    assert "trial.quantization" in (finding.cure or "")


def test_a_layer_that_computes_something_else_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    right = try_device.dequantize_4bit
    monkeypatch.setattr(try_device, "dequantize_4bit", lambda *args: 1.1 * right(*args))
    finding = try_device.try_nf4()
    assert finding.status == "broken"
    assert "off by 9." in finding.found


def test_a_model_without_a_chat_template_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = resolve_model("builtin:tiny")
    folder = tmp_path / "hub" / "models--some--base" / "snapshots" / "c0ffee"
    shutil.copytree(tiny.location, folder)
    (folder / "chat_template.jinja").unlink()
    monkeypatch.setattr(try_model, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert ModelSource("some/base", str(folder), "unknown") in try_model._local_models()
    finding = try_model.try_chat_templates()
    assert finding.status == "warning"
    assert finding.found.startswith("missing or broken for some/base;")
    assert "builtin:tiny" in finding.found


# MLflow's store.


def tried_store(tmp_path: Path, uri: str | None = None) -> Finding:
    environ = {} if uri is None else {"MLFLOW_TRACKING_URI": uri}
    return try_mlflow.try_store(Place(tmp_path / "runs", environ))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without the store beside, whose tables take seconds to create."""
    monkeypatch.setattr(try_mlflow, "_write_beside", lambda folder: None)


def test_a_store_is_tried_and_nothing_stays(tmp_path: Path) -> None:
    finding = tried_store(tmp_path)
    assert finding.status == "ok"
    assert finding.found == f"sqlite:///{tmp_path}/runs/mlflow.db can be written to"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_store_cannot_be_in_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: str, *, out_dir: Path) -> TrackingStore:
        raise StorageError(f"opening {uri} failed: database is locked")

    monkeypatch.setattr(TrackingStore, "open", refuse)
    finding = tried_store(tmp_path)
    assert finding.status == "broken"
    assert "database is locked" in finding.found


def test_a_store_that_is_there_is_opened(tmp_path: Path, quick: None) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mlflow.db").write_bytes(empty_store())
    assert tried_store(tmp_path).status == "ok"


def test_a_store_of_another_version_says_how_to_upgrade(tmp_path: Path, quick: None) -> None:
    (tmp_path / "runs").mkdir()
    path = tmp_path / "runs" / "mlflow.db"
    path.write_bytes(empty_store())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    database.close()
    finding = tried_store(tmp_path)
    assert finding.status == "broken"
    assert f"mlflow db upgrade sqlite:///{path}" in (finding.cure or "")


def test_a_server_that_is_away_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    finding = tried_store(tmp_path, "http://user:secret@127.0.0.1:1")
    assert finding.status == "warning"
    assert finding.found == "http://***@127.0.0.1:1 does not answer"
    assert "secret" not in str(finding)
