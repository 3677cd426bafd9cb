"""Machines that are not up yet: asked of the cluster's autoscaler, and waited for.

Only until one trial has room. Further machines come as the scheduler queues more trials. A
cluster that this process started, or that cannot grow, has what it has: there the packing says
at once what is too large.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Sequence

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler.sdk import request_resources
from ray.experimental.internal_kv import _internal_kv_get

from strictune.config import ResourcesSpec, TrialSpec
from strictune.errors import BudgetError
from strictune.launch.machines import cluster_machines
from strictune.packing import Grant, Machine, before_peak, has_room

__all__ = ["can_grow", "most_workers", "wait_for_room"]

logger = logging.getLogger(__name__)

TIMEOUT_S = 1800.0
"""A machine of a cloud is found, started and set up in less, or not at all."""
CARD_FIRST_S = 60.0
"""So long only machines with a card are asked for; then any, unless one of those is starting."""
POLL_S = 5.0
"""The autoscaler itself looks as often."""

Ask = Callable[[list[dict[str, float]]], None]


def wait_for_room(
    spec: ResourcesSpec,
    *,
    num_workers: int,
    say: Callable[[str], None],
    find: Callable[[], Sequence[Machine]] = lambda: cluster_machines(asks_cards=False),
    grows: Callable[[Sequence[Machine]], bool] = lambda machines: _may_grow(machines),
    ask: Ask = lambda bundles: request_resources(bundles=bundles),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once the machines of the cluster have room for a trial, or never will.

    Args:
        spec: What the sweep file says; the peak of a trial is not known yet.
        num_workers: Processes of one trial.
        say: Takes a line for the terminal.
        find: Looks which machines are up.
        grows: Says whether more may come.
        ask: Takes what the autoscaler is to have room for; a later request replaces it.
        clock: Seconds.
        sleep: Waits for some.

    Raises:
        BudgetError: No machine with room came in time.
    """
    process = before_peak(spec, num_workers=num_workers)
    machines = find()
    if has_room(machines, process) or not grows(machines):
        return
    start = clock()
    say(
        f"no machine that is up has room for a trial ({_words(process)}): asked the cluster for "
        f"one, waiting up to {TIMEOUT_S / 60:.0f} minutes"
    )
    asked: list[dict[str, float]] = []
    try:
        while not has_room(machines, process):
            waited_s = clock() - start
            if waited_s >= TIMEOUT_S:
                raise BudgetError(_too_late(process, machines))
            wanted = _bundles(process, with_card=waited_s < CARD_FIRST_S)
            if wanted != asked:
                ask(wanted)
                asked = wanted
            sleep(POLL_S)
            machines = find()
    finally:
        # A request stays until it is replaced, and would keep its machines for ever.
        ask([])
    say(f"a machine with room came after {clock() - start:.0f} s")


def can_grow(status: bytes | None, node_ids: Sequence[str], machines: Sequence[Machine]) -> bool:
    """Say whether more machines may join a cluster.

    Without an autoscaler Ray reports each machine as a type of its own, named after it. Such a
    cluster is complete, unless none of its machines takes trials: then others are to come.

    Args:
        status: What Ray's autoscaler last reported; newer ones leave it out.
        node_ids: Of the machines.
        machines: Those that are up.
    """
    if not any(machine.cpus for machine in machines):
        return True
    report = json.loads(status or b"{}").get("autoscaler_report") or {}
    types = set(report.get("active_nodes") or ())
    return not types or not types <= {f"node_{node_id}" for node_id in node_ids}


def most_workers(trials: Sequence[TrialSpec]) -> int:
    """Return the processes of the widest of some trials."""
    return max(trial.distributed.num_workers for trial in trials)


def _may_grow(machines: Sequence[Machine]) -> bool:
    """Say of the cluster that is connected what ``can_grow`` says; one of our own cannot."""
    if os.environ.get("RAY_ADDRESS", "local") == "local":
        return False
    ids = [str(node["NodeID"]) for node in ray.nodes()]
    return can_grow(_internal_kv_get(DEBUG_AUTOSCALING_STATUS), ids, machines)


def _bundles(process: Grant, *, with_card: bool) -> list[dict[str, float]]:
    bundle = {"CPU": process.cpus}
    if with_card:
        bundle["GPU"] = process.gpus
    if process.memory_gib is not None:
        bundle["memory"] = process.ray_resources()["memory"]
    return [dict(bundle) for _ in range(process.num_workers)]


def _words(process: Grant) -> str:
    text = f"{process.cpus:g} CPU"
    if process.memory_gib is not None:
        text += f", {process.memory_gib:g} GiB"
    return text if process.num_workers == 1 else f"{text} for each of {process.num_workers} workers"


def _too_late(process: Grant, machines: Sequence[Machine]) -> str:
    most = max((machine.cpus for machine in machines), default=0.0)
    return (
        f"resources: a trial needs {_words(process)}, and in {TIMEOUT_S / 60:.0f} minutes no "
        f"machine with room for it joined the cluster, whose largest of {len(machines)} has "
        f"{most:g} cores for trials. `ray status` on its head node says what could not be "
        "started. Correct that, or lower what resources asks for, and run again with --resume."
    )
