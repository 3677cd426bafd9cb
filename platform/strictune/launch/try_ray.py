"""Starts Ray as a sweep does, and runs something in it: ``python -m strictune.launch.try_ray``."""

import os
import time

import ray

from strictune.doctor.examination import Finding, ok, print_findings
from strictune.launch.cluster import ray_cluster

__all__ = ["try_ray"]

CURE = (
    "An earlier Ray may still be running: `ray stop`. In a job or on a cluster, check RAY_ADDRESS "
    "and RAY_AUTH_TOKEN_PATH. Ray's own logs are in its session folder, /tmp/ray/session_latest."
)


def try_ray() -> Finding:
    """Run a task in a worker that imports what trials are started by."""
    started = time.monotonic()
    with ray_cluster():
        ray.get(ray.remote(_import_trainable).options(num_cpus=1).remote())
        seconds = time.monotonic() - started
        available = ray.cluster_resources()
    cores, gpus = available.get("CPU", 0), available.get("GPU", 0)
    where = os.environ.get("RAY_ADDRESS", "a cluster of its own")
    return ok("ray", f"{where}: {cores:g} cores, {gpus:g} GPUs, ready in {seconds:.0f} s")


def _import_trainable() -> str:
    from trainables import ray_trainable

    return ray_trainable.__name__


if __name__ == "__main__":
    print_findings({"ray": try_ray}, cure=CURE)
