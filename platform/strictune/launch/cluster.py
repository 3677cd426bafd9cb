"""The Ray cluster of a sweep: the one that is there, or one of this machine.

Inside a Ray job, or with RAY_ADDRESS set, the sweep joins that cluster. Otherwise it starts
one on this machine that listens on loopback and ends with the sweep.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray

from strictune.config import ResourcesSpec
from strictune.errors import BudgetError

__all__ = ["ray_cluster", "trial_resources"]

WORKER_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@contextmanager
def ray_cluster(*, num_gpus: float | None = None) -> Iterator[None]:
    """Connect to Ray for the time of a sweep.

    Args:
        num_gpus: What to tell a cluster of this machine about its GPUs; None lets Ray count.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    own = {"include_dashboard": False, "num_gpus": num_gpus} if address == "local" else {}
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": WORKER_ENVIRONMENT},
        **own,
    )
    _interrupt_on_termination()
    try:
        yield
    finally:
        ray.shutdown()


def trial_resources(spec: ResourcesSpec) -> Mapping[str, float]:
    """Return what Ray sets aside for one trial: CPUs, and GPUs where the cluster has any.

    Raises:
        BudgetError: No machine of this size is in the cluster.
    """
    available = ray.cluster_resources()
    num_cpus, num_gpus = float(available.get("CPU", 0)), float(available.get("GPU", 0))
    if spec.cpus_per_trial > num_cpus:
        raise BudgetError(
            f"resources.cpus_per_trial = {spec.cpus_per_trial:g}, but the cluster has "
            f"{num_cpus:g} cores. Lower it with --set resources.cpus_per_trial={num_cpus:g}."
        )
    if num_gpus == 0:
        return {"cpu": spec.cpus_per_trial}
    if spec.gpus_per_trial > num_gpus:
        raise BudgetError(
            f"resources.gpus_per_trial = {spec.gpus_per_trial:g}, but the cluster has "
            f"{num_gpus:g} GPUs. Lower it with --set resources.gpus_per_trial={num_gpus:g}."
        )
    return {"cpu": spec.cpus_per_trial, "gpu": spec.gpus_per_trial}


def _interrupt_on_termination() -> None:
    """Let SIGTERM, which schedulers send, end a sweep as Ctrl-C does.

    Called after ``ray.init``, which sets a handler of its own that ends the process at once. A
    shell starts background jobs with Ctrl-C ignored, so its handler is set as well.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
