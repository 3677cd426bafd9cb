"""The light checks: what they make of machines, packages and hubs of every kind."""

import http.server
import resource
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from strictune.doctor import Finding, Place, software
from strictune.doctor import checks as machine_checks
from strictune.doctor.checks import (
    check_caches,
    check_cores,
    check_disk,
    check_hub,
    check_memory,
    check_open_files,
    check_scratch,
)
from strictune.doctor.software import check_packages, check_python, compare_packages
from strictune.packing import Machine

GIB = 2**30
Usage = namedtuple("Usage", ["total", "used", "free"])


def place(out: Path, **environ: str) -> Place:
    return Place(out, environ)


def pretend(monkeypatch: pytest.MonkeyPatch, *, cpus: float = 4, memory_gib: float = 16) -> None:
    machine = Machine(cpus=cpus, memory_gib=memory_gib, gpus=0, gpu=None)
    monkeypatch.setattr(machine_checks, "this_machine", lambda: machine)


def pretend_disk(monkeypatch: pytest.MonkeyPatch, *, free_gib: float, total_gib: float) -> None:
    usage = Usage(total_gib * GIB, (total_gib - free_gib) * GIB, free_gib * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def refuse_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdtemp(**options: object) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(machine_checks.tempfile, "mkdtemp", mkdtemp)


# The machine.


@pytest.mark.parametrize(
    ("threads", "status"),
    [
        (None, "ok"),
        ("1", "ok"),
        ("4", "ok"),
        ("5", "warning"),
        ("0", "warning"),
        ("many", "warning"),
    ],
)
def test_threads_must_fit_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str | None, status: str
) -> None:
    pretend(monkeypatch, cpus=4)
    environ = {} if threads is None else {"OMP_NUM_THREADS": threads}
    assert check_cores(Place(tmp_path, environ)).status == status


@pytest.mark.parametrize(("gib", "status"), [(0.5, "broken"), (2, "warning"), (16, "ok")])
def test_memory_must_do_for_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: float, status: str
) -> None:
    pretend(monkeypatch, memory_gib=gib)
    finding = check_memory(place(tmp_path))
    assert finding.status == status
    assert f"{gib:.1f} GiB" in finding.found


@pytest.mark.parametrize(
    ("soft", "hard", "status"),
    [
        pytest.param(1024, 1_048_576, "ok", id="ray-raises-it"),
        pytest.param(1024, 1024, "warning", id="hard-limit"),
        pytest.param(256, resource.RLIM_INFINITY, "ok", id="no-limit"),
    ],
)
def test_open_files_are_limited_by_the_hard_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, status: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    assert check_open_files(place(tmp_path)).status == status


@pytest.mark.parametrize(("free_gib", "status"), [(0.5, "broken"), (5, "warning"), (50, "ok")])
def test_results_need_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gib: float, status: str
) -> None:
    pretend_disk(monkeypatch, free_gib=free_gib, total_gib=100)
    assert check_disk(place(tmp_path / "runs" / "not" / "yet")).status == status


@pytest.mark.parametrize(("free_gib", "status"), [(4, "warning"), (6, "ok")])
def test_ray_needs_a_disk_that_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gib: float, status: str
) -> None:
    pretend_disk(monkeypatch, free_gib=free_gib, total_gib=100)
    finding = check_scratch(place(tmp_path, RAY_TMPDIR=str(tmp_path)))
    assert finding.status == status
    assert finding.found.startswith(str(tmp_path))


@pytest.mark.parametrize("check", [check_disk, check_scratch, check_caches])
def test_a_folder_that_cannot_be_written_to_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Place], Finding]
) -> None:
    refuse_writing(monkeypatch)
    finding = check(place(tmp_path, RAY_TMPDIR=str(tmp_path)))
    assert finding.status == "broken"
    assert "cannot be written to (Read-only file system)" in finding.found
    assert finding.cure


def test_looking_at_folders_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for check in (check_disk, check_scratch, check_caches):
        check(place(tmp_path / "runs", RAY_TMPDIR=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


# Python and packages.


def test_this_python_and_these_packages_will_do(tmp_path: Path) -> None:
    assert check_python(place(tmp_path)).status == "ok"
    assert check_packages(place(tmp_path)).status in ("ok", "warning")


def test_an_old_python_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software.platform, "python_version", lambda: "3.10.14")
    finding = check_python(place(tmp_path))
    assert (finding.status, finding.found) == ("broken", "3.10.14, expected >=3.11")


@pytest.mark.parametrize(
    ("installed", "status", "found"),
    [
        pytest.param(
            {"torch": "2.13.0", "trl": "1.16.0"}, "ok", "2 in the right versions, as tested",
            id="as-tested",
        ),
        pytest.param(
            {"torch": "2.13.0+cpu", "trl": "1.16.0"}, "ok", "2 in the right versions, as tested",
            id="another-build",
        ),
        pytest.param(
            {"torch": "2.14.0", "trl": "1.16.0"}, "warning",
            "other versions than tested: torch 2.14.0 (tested: 2.13.0)",
            id="newer",
        ),
        pytest.param(
            {"torch": "2.14.0", "trl": "0.9.0"}, "broken", "trl is 0.9.0, expected >=1.0",
            id="too-old",
        ),
        pytest.param({"trl": "1.16.0"}, "broken", "torch is missing", id="missing"),
    ],
)  # fmt: skip
def test_packages_are_compared_with_what_is_wanted(
    installed: dict[str, str], status: str, found: str
) -> None:
    finding = compare_packages(
        [Requirement("torch>=2.8"), Requirement("trl>=1.0")],
        {"torch": "2.13.0", "trl": "1.16.0"},
        installed.get,
        cure="install",
    )
    assert (finding.status, finding.found) == (status, found)


def test_many_wrong_packages_are_cut_short() -> None:
    requirements = [Requirement(f"p{index}") for index in range(9)]
    finding = compare_packages(requirements, {}, lambda name: None, cure="install")
    assert finding.found.endswith("p5 is missing; and 3 more")


def test_without_a_checkout_the_installed_package_says_what_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "CHECKOUT", tmp_path)
    assert check_python(place(tmp_path)).status == "ok"
    finding = check_packages(place(tmp_path))
    assert finding.status == "ok"
    assert "hypothesis" not in finding.found


# The hub.


class _Hub(http.server.BaseHTTPRequestHandler):
    code = 200

    def do_HEAD(self) -> None:
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("code", [200, 401, 404, 500])
def test_a_hub_that_says_anything_answers(
    tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(_Hub, "code", code)
    finding = check_hub(place(tmp_path, HF_ENDPOINT=hub))
    assert finding.status == "ok"
    assert finding.found.startswith(f"{hub} answers")


def test_a_token_is_never_shown(tmp_path: Path, hub: str) -> None:
    finding = check_hub(place(tmp_path, HF_ENDPOINT=hub, HF_TOKEN="hf_secret"))
    assert "a token is set" in finding.found
    assert "hf_secret" not in str(finding)


def offline(finding: Finding) -> None:
    assert finding.status == "warning"
    assert finding.found.startswith("offline")
    assert "package:smollm2-135m" in (finding.cure or "")


def test_a_hub_that_does_not_answer_is_only_a_warning(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        offline(check_hub(place(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{port}")))


@pytest.mark.parametrize("address", ["no-address", "file:///etc/nothing-here", "http://[::1"])
def test_an_address_that_is_none_is_only_a_warning(tmp_path: Path, address: str) -> None:
    offline(check_hub(place(tmp_path, HF_ENDPOINT=address)))


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_being_offline_by_choice_is_said(tmp_path: Path, variable: str) -> None:
    finding = check_hub(place(tmp_path, **{variable: "1"}))
    offline(finding)
    assert variable in finding.found
