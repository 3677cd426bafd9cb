"""The vLLM servers of a sweep, with a command that stands for vLLM's."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import fake_vllm
import psutil
import pytest
from cost_fakes import trials_of
from processes import wait_for, wait_until_ended

from strictune.config import VllmSpec
from strictune.doctor import Place
from strictune.doctor.checks import check_vllm
from strictune.errors import BudgetError, SpecError
from strictune.launch import vllm, vllm_process
from strictune.launch.vllm import free_port, serve_arguments
from strictune.launch.vllm_process import ServerProcess
from strictune.records import Grant
from strictune.served import vllm_command
from trainables.ray_trainable import ServedModel
from trainables.rollouts.vllm_server import VllmServer
from trainables.tasks import load_task

COMMAND = f"{sys.executable} {fake_vllm.__file__}"
MODEL = ServedModel("base", "/cache/served/base", "bfloat16")


@contextmanager
def started(folder: Path, *further: str) -> Iterator[ServerProcess]:
    port = free_port()
    served = ["--served-model-name", "base", "--port", str(port), "--max-lora-rank", "16"]
    server = ServerProcess(
        [*vllm_command(COMMAND), "serve", "/base", *served, *further],
        environment={**os.environ, "VLLM_API_KEY": "key"},
        url=f"http://127.0.0.1:{port}",
        log=folder / "base.log",
    )
    try:
        yield server
    finally:
        server.stop()


def is_up(server: ServerProcess) -> bool:
    server.look()
    return server._answers()


def kill(process: psutil.Process) -> None:
    process.kill()


def hang(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("fault", [kill, hang])
def test_a_server_that_dies_or_hangs_is_started_again_and_stopped_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[psutil.Process], None]
) -> None:
    monkeypatch.setattr(vllm_process, "HEALTH_TIMEOUT_S", 0.3)
    monkeypatch.setenv("STRICTUNE_VLLM_API_KEY", "key")
    with started(tmp_path) as server:
        server.wait_until_up(poll_s=0.05)
        first = psutil.Process(server._process.pid)
        given = VllmServer(VllmSpec(base_url=server.url), model="base")
        assert given.check(num_tokens=10, location="") == "0.32.0"
        fault(first)
        wait_for(lambda: server._process.pid != first.pid or server.look(), seconds=60)
        wait_for(lambda: is_up(server), seconds=60)
        last = server._process.pid
    wait_until_ended(first.pid)
    wait_until_ended(last)
    assert (tmp_path / "base.log").read_text().count("serving /base") == 2


def test_a_server_that_does_not_come_up_says_why_in_one_line(tmp_path: Path) -> None:
    with (
        started(tmp_path, "--fail") as server,
        pytest.raises(BudgetError, match=r"ended \(1\) before it was up: ValueError: no room on"),
    ):
        server.wait_until_up(poll_s=0.05)


def test_a_server_that_never_comes_back_is_left_down(tmp_path: Path) -> None:
    with started(tmp_path, "--fail") as server:
        for _ in range(vllm_process.MAX_RESTARTS + 3):
            server._process.wait(60)
            server.look()
        log = (tmp_path / "base.log").read_text()
    assert log.count("serving /base") == vllm_process.MAX_RESTARTS + 1


def test_a_server_is_started_for_the_largest_of_its_trials() -> None:
    matrix = {"variant": {"small": {}, "large": {"lora.r": 40, "grpo.max_completion_length": 900}}}
    trials = trials_of(matrix=matrix, rollouts={"engine": "vllm", "vllm": {"arguments": ["--x"]}})
    given = serve_arguments(trials, MODEL, port=8001, has_gpu=True, num_adapters=2)
    named = dict(itertools.pairwise(given))
    assert given[:2] == ["serve", "/cache/served/base"]
    assert named["--max-lora-rank"] == "64"
    longest = load_task(trials[0].task).max_prompt_tokens + 900
    assert named["--max-model-len"] == str(longest)
    assert named["--host"] == "127.0.0.1"
    assert named["--gpu-memory-utilization"] == "0.3"
    assert given[-1] == "--x"
    on_cpu = serve_arguments(trials, MODEL, port=8001, has_gpu=False, num_adapters=2)
    assert {"--enforce-eager", "--no-enable-chunked-prefill"} <= {*on_cpu}
    assert "--gpu-memory-utilization" not in on_cpu


@pytest.mark.parametrize(
    ("cpus_per_trial", "num_servers", "expected"), [(1, 1, 6), (2, 2, 2), (4, 1, 1)]
)
def test_servers_compute_on_the_cores_that_trials_leave(
    cpus_per_trial: int, num_servers: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "this_machine", lambda: SimpleNamespace(cpus=8.0))
    grants = [Grant(cpus=cpus_per_trial, at_once=2), Grant(cpus=1, at_once=1)]
    assert vllm._num_threads(grants, num_servers=num_servers) == expected


def test_a_command_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRICTUNE_VLLM", "/nowhere/vllm")
    with pytest.raises(SpecError, match=r"no command /nowhere/vllm\. Install .* STRICTUNE_VLLM or"):
        vllm_command(None)
    assert vllm_command(COMMAND) == COMMAND.split()


@pytest.mark.parametrize(
    ("command", "status", "found"),
    [
        pytest.param("/nowhere/vllm", "ok", "no command of that name", id="none"),
        pytest.param(COMMAND, "ok", "0.32.0+fake by", id="one"),
        pytest.param(f"{sys.executable} -c 1/0", "warning", "ended with 1: ZeroDivision", id="bad"),
    ],
)
def test_doctor_starts_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, status: str, found: str
) -> None:
    monkeypatch.setenv("STRICTUNE_VLLM", command)
    finding = check_vllm(Place(tmp_path, os.environ))
    assert (finding.status, found in finding.found) == (status, True), finding
