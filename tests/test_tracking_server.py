"""The tracking server of ``cluster_configs/tracking_server.sh``, with a real PostgreSQL."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from two_nodes import BIN, ROOT, clean_environment, free_port

SCRIPT = ROOT / "cluster_configs" / "tracking_server.sh"
HAS_POSTGRES = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_POSTGRES, reason="PostgreSQL is not installed"),
    pytest.mark.skipif(find_spec("psycopg2") is None, reason="the extra postgres is not installed"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter, which pytest's is not."""
    with tempfile.TemporaryDirectory(prefix="st-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start(folder: Path, home: Path, ports: tuple[int, int]) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        ["bash", str(SCRIPT), str(folder)],
        env=clean_environment(home)
        | {
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "MLFLOW_PORT": str(ports[0]),
            "POSTGRES_PORT": str(ports[1]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith("tracking server: http://127.0.0.1:")
    return server


def stop(server: subprocess.Popen[str]) -> None:
    started = psutil.Process(server.pid).children(recursive=True)
    assert started
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=60)
    assert server.returncode == 0
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []


def test_runs_outlive_a_restart_and_nothing_is_left_running(folder: Path, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    client = MlflowClient(f"http://127.0.0.1:{ports[0]}")
    server = start(folder, tmp_path, ports)
    try:
        experiment = client.create_experiment("strictune/test")
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "reward/total/mean", 0.5)
        client.log_text(run.info.run_id, "text", "notes.txt")
        stop(server)
        server = start(folder, tmp_path, ports)
        found = client.get_run(run.info.run_id)
        assert found.data.metrics == {"reward/total/mean": 0.5}
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["notes.txt"]
        stop(server)
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert (folder / "pgpass").stat().st_mode & 0o077 == 0
    password = (folder / "pgpass").read_text().strip().rpartition(":")[2]
    logs = "".join((folder / name).read_text() for name in ("mlflow.log", "postgres.log"))
    assert password not in logs
