"""What the machines of the Ray cluster have: cores, memory and cards."""

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from strictune.packing import GIB, Card, Machine
from trainables.ray_trainable import describe_card

__all__ = ["cluster_machines"]


def cluster_machines(*, asks_cards: bool = True) -> list[Machine]:
    """Return the living machines of the cluster; their cards are asked for name and memory."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    cards = {node["NodeID"]: _ask_for_card(node) for node in nodes if asks_cards and _gpus(node)}
    return [
        Machine(
            cpus=float(node["Resources"].get("CPU", 0)),
            memory_gib=float(node["Resources"].get("memory", 0)) / GIB,
            gpus=_gpus(node),
            card=cards.get(node["NodeID"]),
        )
        for node in nodes
    ]


def _gpus(node: dict[str, Any]) -> int:
    return int(node["Resources"].get("GPU", 0))


def _ask_for_card(node: dict[str, Any]) -> Card | None:
    """Return the smallest card of a machine, or None if it shows none, as a pretended one."""
    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # No GPU is requested, so Ray hides all of them unless told not to. The process ends with the
    # answer, and with it what CUDA took of the card.
    asked = ray.remote(max_calls=1)(describe_card).options(
        num_cpus=0,
        scheduling_strategy=where,
        runtime_env={"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}},
    )
    found = ray.get(asked.remote())
    return None if found is None else Card(**found)
