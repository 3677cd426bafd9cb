import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from strictune.watch import Driver, read_driver

HOST = socket.gethostname()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_that_runs_is_alive(sleeper: subprocess.Popen[bytes]) -> None:
    assert Driver(sleeper.pid, HOST, time.time()).status() == "alive"


def test_a_process_that_was_killed_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    sleeper.wait()
    assert Driver(sleeper.pid, HOST, time.time()).status() == "gone"


def test_a_number_that_another_process_has_now_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    assert Driver(sleeper.pid, HOST, time.time() - 3600).status() == "gone"


def test_another_users_process_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "create_time", refuse)
    assert Driver(os.getpid(), HOST, time.time()).status() == "alive"


def test_a_process_on_another_machine_cannot_be_asked() -> None:
    assert Driver(os.getpid(), "elsewhere.invalid", time.time()).status() == "elsewhere"


def test_the_file_is_read(tmp_path: Path) -> None:
    content = {"pid": 7, "host": "h", "started": 1.5, "more": "is passed over"}
    (tmp_path / "driver.json").write_text(json.dumps(content))
    assert read_driver(tmp_path) == Driver(7, "h", 1.5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 7}', '{"pid": "x"}'])
def test_a_file_without_the_content_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "driver.json").write_text(text)
    assert read_driver(tmp_path) is None


def test_without_the_file_nobody_runs_the_sweep(tmp_path: Path) -> None:
    assert read_driver(tmp_path) is None
