"""The Ray cluster of a sweep: the one that is there, or one of this machine.

Inside a Ray job, or with RAY_ADDRESS set, the sweep joins that cluster. Otherwise it starts
one on this machine that is guarded by a token and ends with the sweep.
"""

import logging
import os
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from strictune.errors import SpecError, StorageError
from strictune.hardware import this_machine
from strictune.packing import Gpu, Machine
from trainables.devices import GIB, allocator_environment
from trainables.ray_trainable import describe_gpu
from trainables.rollouts.vllm_server import SERVERS_VARIABLE

__all__ = ["cluster_machines", "ray_cluster"]

WORKER_ENVIRONMENT = {
    # Else TRL imports MLflow into each trial, for two CPU seconds; the driver alone writes to it.
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Files of models and prompts are UTF-8, whatever the terminal shows.
    "PYTHONUTF8": "1",
    # Tune and Train stay where the sweep was started, so that relative paths mean what they say.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TOKENIZERS_PARALLELISM": "false",
}

INHERITED = ("STRICTUNE_GIT_SHA", SERVERS_VARIABLE, "STRICTUNE_VLLM_API_KEY")
"""Variables that workers get from the driver; a job knows its commit by the first alone."""

CONNECT_TIMEOUT_S = 10.0
"""Ray itself would try for minutes to reach a cluster that is not there."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals of schedulers, service managers and closing terminals, often sent to all processes of a
command at once."""


@contextmanager
def ray_cluster(*, num_gpus: float | None = None) -> Iterator[None]:
    """Connect to Ray while the context is open.

    A cluster of this machine has the cores that this process may use; one that is joined
    counts its own. From then on the signals of ``STOP_SIGNALS`` end the sweep as Ctrl-C does.

    Args:
        num_gpus: What to tell a cluster of this machine about its GPUs; None lets Ray count.

    Raises:
        SpecError: Nothing answers where RAY_ADDRESS points to.
        StorageError: Ray does not start, as where the folder for temporary files has too long a
            name for its sockets, or a cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    _check_reachable(address)
    own: dict[str, Any] = {}
    if address == "local":
        cores = max(1, int(this_machine().cpus))
        own = {"include_dashboard": False, "num_cpus": cores, "num_gpus": num_gpus}
        if not os.access(Path.home(), os.W_OK):
            # Ray would keep its token there.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    _redirect_log()
    with _blocking_stop_signals():
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"env_vars": _worker_environment()},
                **own,
            )
        except Exception as error:  # Ray raises plain ones where a process does not start.
            raise StorageError(_why_no_ray(address, error)) from error
    try:
        yield
    finally:
        with _terminating_by_kill():
            ray.shutdown()


def cluster_machines(*, asks_gpus: bool = True) -> list[Machine]:
    """Return the living machines of the cluster; their GPUs are asked for name and memory."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    gpus = {node["NodeID"]: _ask_for_gpu(node) for node in nodes if asks_gpus and _gpus(node)}
    return [
        Machine(
            cpus=float(node["Resources"].get("CPU", 0)),
            memory_gib=float(node["Resources"].get("memory", 0)) / GIB,
            gpus=_gpus(node),
            gpu=gpus.get(node["NodeID"]),
        )
        for node in nodes
    ]


def _gpus(node: dict[str, Any]) -> int:
    return int(node["Resources"].get("GPU", 0))


def _ask_for_gpu(node: dict[str, Any]) -> Gpu | None:
    """Return the smallest GPU of a machine, or None if it shows none, as a pretended one."""
    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # No GPU is requested, so Ray hides all of them unless told not to. The process ends with the
    # answer, and with it what CUDA took of the GPU.
    asked = ray.remote(max_calls=1)(describe_gpu).options(
        num_cpus=0,
        scheduling_strategy=where,
        runtime_env={"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}},
    )
    found = ray.get(asked.remote())
    return None if found is None else Gpu(**found)


def _worker_environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return WORKER_ENVIRONMENT | passed_on | allocator_environment(os.environ)


def _check_reachable(address: str) -> None:
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return  # "local", "auto" or a folder of Ray's.
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S):
            pass
    except OSError as error:
        raise SpecError(
            f"RAY_ADDRESS = {address}, but no cluster answers there ({error}). Correct it, or "
            "unset RAY_ADDRESS to run on this machine."
        ) from error


def _redirect_log() -> None:
    """Redirect Ray's log from the terminal to the sweep's log."""
    logger = logging.getLogger("ray")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True


@contextmanager
def _blocking_stop_signals() -> Iterator[None]:
    """Keep the signals of ``STOP_SIGNALS`` from the processes that Ray starts in this context.

    A signal to the whole process group or control group would end Ray before Tune has stopped
    its trials, and the driver would wait a minute for it and die. Blocked signals stay blocked
    in child processes; those that arrive meanwhile are handled here at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        _interrupt_on_termination()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _why_no_ray(address: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    if address != "local":
        return f"RAY_ADDRESS = {address}, but that cluster could not be joined: {reason}."
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if "AF_UNIX" in str(error):
        return (
            f"{folder}: the name of this folder for temporary files is too long for Ray's sockets "
            "(107 characters with what Ray adds). Set RAY_TMPDIR to a short folder on this "
            "machine, e.g. RAY_TMPDIR=/tmp."
        )
    return (
        f"Ray did not start: {reason}. Try again when the machine has "
        f"less to do; Ray's logs are in {folder}/ray/session_latest/logs, and `strictune doctor` "
        "tries to start it."
    )


@contextmanager
def _terminating_by_kill() -> Iterator[None]:
    """Make ``Popen.terminate`` kill: Ray waits a second for each process that ignores SIGTERM."""
    terminate = subprocess.Popen.terminate
    subprocess.Popen.terminate = subprocess.Popen.kill  # type: ignore[method-assign]
    try:
        yield
    finally:
        subprocess.Popen.terminate = terminate  # type: ignore[method-assign]


def _interrupt_on_termination() -> None:
    """Let the signals of ``STOP_SIGNALS`` end a sweep as Ctrl-C does.

    Called after ``ray.init``, which sets a handler of its own that ends the process at once. A
    shell starts background jobs with Ctrl-C ignored, so its handler is set as well. What
    ``nohup`` ignores stays ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    """Interrupt once: ``timeout`` and others send to a process and again to its group."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, lambda *_: None)
    signal.raise_signal(signal.SIGINT)
