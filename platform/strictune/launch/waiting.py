"""Requests a first machine from the cluster's autoscaler, and waits until it is up.

Only where no machine of a joined cluster takes trials yet, as on a head node without cores. The
scheduler's queue brings further machines. Where some machine takes trials, the packing reports at
once a trial that is too large for it.
"""

import os
import time
from collections.abc import Callable, Sequence

from ray.autoscaler.sdk import request_resources

from strictune.config import ResourcesSpec, TrialSpec
from strictune.errors import BudgetError
from strictune.launch.cluster import cluster_machines
from strictune.packing import Machine, before_peak, has_room
from strictune.records import Grant

__all__ = ["wait_for_room"]

TIMEOUT_S = 1800.0
"""A cloud machine is found, started and set up in less."""
GPU_FIRST_S = 60.0
"""For so long only machines with a GPU are requested; then any, unless one of those is starting."""
POLL_S = 5.0
"""The autoscaler itself looks as often."""


def wait_for_room(
    spec: ResourcesSpec,
    trials: Sequence[TrialSpec],
    *,
    say: Callable[[str], None],
    find: Callable[[], Sequence[Machine]] = lambda: cluster_machines(asks_gpus=False),
    ask: Callable[[list[dict[str, float]]], None] = lambda bundles: request_resources(
        bundles=bundles
    ),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once a machine of the cluster takes trials.

    Args:
        spec: What the sweep file says; the peak of a trial is not known yet.
        trials: The widest of them must find room.
        say: Takes a line for the terminal.
        find: Returns the machines that are up.
        ask: Takes what the autoscaler is to have room for; a later request replaces it.
        clock: Seconds.
        sleep: Waits for some.

    Raises:
        BudgetError: No machine with room came in time.
    """
    is_our_own = os.environ.get("RAY_ADDRESS", "local") == "local"
    if is_our_own or any(machine.cpus for machine in find()):
        return
    num_workers = max(trial.distributed.num_workers for trial in trials)
    process = before_peak(spec, num_workers=num_workers)
    start = clock()
    say(
        f"no machine that is up takes trials, and one needs {_words(process)}: asked the cluster "
        f"for a machine, waiting up to {TIMEOUT_S / 60:.0f} minutes"
    )
    try:
        while not has_room(machines := find(), process):
            waited_s = clock() - start
            if waited_s >= TIMEOUT_S:
                raise BudgetError(_timeout_message(process, machines))
            ask(_bundles(process, with_gpu=waited_s < GPU_FIRST_S))
            sleep(POLL_S)
    finally:
        # A request stays until it is replaced, and would keep its machines running.
        ask([])
    say(f"a machine with room came after {clock() - start:.0f} s")


def _bundles(process: Grant, *, with_gpu: bool) -> list[dict[str, float]]:
    bundle = {"CPU": process.cpus}
    if with_gpu:
        bundle["GPU"] = process.gpus
    if process.memory_gib is not None:
        bundle["memory"] = process.ray_resources()["memory"]
    return [dict(bundle) for _ in range(process.num_workers)]


def _words(process: Grant) -> str:
    text = f"{process.cpus:g} CPU"
    if process.memory_gib is not None:
        text += f", {process.memory_gib:g} GiB"
    return text if process.num_workers == 1 else f"{text} for each of {process.num_workers} workers"


def _timeout_message(process: Grant, machines: Sequence[Machine]) -> str:
    most = max((machine.cpus for machine in machines), default=0.0)
    return (
        f"resources: a trial needs {_words(process)}, and in {TIMEOUT_S / 60:.0f} minutes no "
        f"machine with room for it joined the cluster, whose largest of {len(machines)} has "
        f"{most:g} cores for trials. `ray status` on its head node says what could not be "
        "started. Correct that, or lower what resources asks for, and run again with --resume."
    )
