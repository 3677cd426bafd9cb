"""The Ray cluster of a sweep: the one that is there, or one of this machine.

Inside a Ray job, or with RAY_ADDRESS set, the sweep joins that cluster. Otherwise it starts
one on this machine that is guarded by a token and ends with the sweep.
"""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from strictune.errors import SpecError

__all__ = ["ray_cluster"]

WORKER_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Tune and Train stay where the sweep was started, so that relative paths mean what they say.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TOKENIZERS_PARALLELISM": "false",
}

CONNECT_TIMEOUT_S = 10.0
"""A cluster's port answers at once or not at all; Ray itself would try for minutes."""


@contextmanager
def ray_cluster(*, num_gpus: float | None = None) -> Iterator[None]:
    """Connect to Ray for the time of a sweep.

    Args:
        num_gpus: What to tell a cluster of this machine about its GPUs; None lets Ray count.

    Raises:
        SpecError: Nothing answers where RAY_ADDRESS points to.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    _refuse_dead(address)
    own = {"include_dashboard": False, "num_gpus": num_gpus} if address == "local" else {}
    _log_with_ours()
    ray.init(
        address=address,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": WORKER_ENVIRONMENT},
        **own,
    )
    _interrupt_on_termination()
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_dead(address: str) -> None:
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


def _log_with_ours() -> None:
    """Send what Ray says to the sweep's log instead of the terminal."""
    logger = logging.getLogger("ray")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True


def _interrupt_on_termination() -> None:
    """Let SIGTERM, which schedulers send, end a sweep as Ctrl-C does.

    Called after ``ray.init``, which sets a handler of its own that ends the process at once. A
    shell starts background jobs with Ctrl-C ignored, so its handler is set as well.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
