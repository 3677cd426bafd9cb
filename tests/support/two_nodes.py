"""Ray clusters of a test's own: nodes on this machine, on loopback, each ended by its pid.

Every node is a ``ray start --block`` with ports, temporary folder, home and token of its own, so
that nothing of the user's Ray is touched. ``ray_head`` is one node with a job server and a token;
``two_nodes`` adds a second node that a test may lose.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class RayNode:
    """One ``ray start --block`` and what it started."""

    process: subprocess.Popen[bytes]
    log: Path

    def raylet(self) -> psutil.Process:
        """Return the node's raylet; killing it is how a machine goes away."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if child.name() == "raylet")

    def lose(self) -> None:
        """Kill the raylet and everything that it runs, at once and for good."""
        raylet = self.raylet()
        for process in [*raylet.children(recursive=True), raylet]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(STOP_TIMEOUT_S)  # Without its raylet, `ray start --block` ends.


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A running cluster; ``nodes[0]`` is the head."""

    address: str
    """What RAY_ADDRESS names: HOST:PORT of the cluster."""
    job_server: str
    """What ``ray job submit --address`` names."""
    token_file: Path
    environment: Mapping[str, str]
    """For processes that belong to the cluster; nothing of Ray's from outside."""
    temp_dir: Path
    nodes: list[RayNode] = field(default_factory=list)

    def driver_environment(self) -> dict[str, str]:
        """Return the environment of a driver that joins this cluster."""
        return {**self.environment, "RAY_ADDRESS": self.address}


@contextlib.contextmanager
def ray_head(*, num_cpus: int = 1) -> Iterator[RayCluster]:
    """Start a head node with a job server that wants a token, and end it with all it runs."""
    # Ray's sockets lie below this folder, and their paths must stay under 108 characters.
    with tempfile.TemporaryDirectory(prefix="st-", dir="/tmp") as name:
        cluster = _cluster(Path(name))
        dashboard = cluster.job_server.rpartition(":")[2]
        try:
            _start(
                cluster,
                "--head",
                f"--port={cluster.address.rpartition(':')[2]}",
                "--include-dashboard=true",
                f"--dashboard-host={LOOPBACK}",
                f"--dashboard-port={dashboard}",
                f"--ray-client-server-port={free_port()}",
                f"--temp-dir={cluster.temp_dir}",
                num_cpus=num_cpus,
            )
            _wait_for(lambda: _wants_a_token(cluster.job_server), cluster.nodes[0])
            yield cluster
        finally:
            _stop(cluster)


@contextlib.contextmanager
def two_nodes(*, num_cpus: int = 1) -> Iterator[RayCluster]:
    """Start a head and a second node of ``num_cpus`` cores each."""
    with ray_head(num_cpus=num_cpus) as cluster:
        add_node(cluster, num_cpus=num_cpus)
        yield cluster


def add_node(cluster: RayCluster, *, num_cpus: int = 1) -> RayNode:
    """Start another node and wait until the cluster has it."""
    node = _start(cluster, f"--address={cluster.address}", num_cpus=num_cpus)
    _wait_for(lambda: b"Ray runtime started" in node.log.read_bytes(), node)
    return node


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def clean_environment(home: Path) -> dict[str, str]:
    """Return this environment with another home, and without Ray's, MLflow's and the hub's."""
    prefixes = ("RAY_", "MLFLOW_", "HF_", "STRICTUNE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {
        **kept,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PATH": os.pathsep.join([str(BIN), kept.get("PATH", "")]),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def _cluster(folder: Path) -> RayCluster:
    home, token_file = folder / "home", folder / "token"
    home.mkdir()
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(32))
    return RayCluster(
        address=f"{LOOPBACK}:{free_port()}",
        job_server=f"http://{LOOPBACK}:{free_port()}",
        token_file=token_file,
        environment={
            **clean_environment(home),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
        },
        temp_dir=folder / "ray",
    )


def _start(cluster: RayCluster, *options: str, num_cpus: int) -> RayNode:
    log = cluster.token_file.with_name(f"node-{len(cluster.nodes)}.log")
    command = [
        *(str(BIN / "ray"), "start", "--block", "--disable-usage-stats"),
        f"--node-ip-address={LOOPBACK}",
        f"--num-cpus={num_cpus}",
        "--num-gpus=0",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--object-store-memory={150 * 2**20}",
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(cluster.environment),
            cwd=cluster.environment["HOME"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node = RayNode(process, log)
    cluster.nodes.append(node)
    return node


def _wants_a_token(job_server: str) -> bool:
    try:
        with urllib.request.urlopen(f"{job_server}/api/version", timeout=5):
            raise AssertionError(f"{job_server} answered without a token")
    except urllib.error.HTTPError as error:
        return error.code == 401
    except (urllib.error.URLError, OSError):
        return False


def _wait_for(condition: Callable[[], bool], node: RayNode) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        is_late = time.monotonic() > deadline
        assert node.process.poll() is None and not is_late, node.log.read_text()
        time.sleep(0.2)


def _stop(cluster: RayCluster) -> None:
    """End the nodes, the head last, and then whatever they left."""
    for node in reversed(cluster.nodes):
        started = _descendants(node.process.pid)
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.process.wait(STOP_TIMEOUT_S)
        _, alive = psutil.wait_procs(started, timeout=5)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.process.kill()
        node.process.wait()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
