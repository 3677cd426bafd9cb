"""The vLLM servers that a sweep starts, one for each base, and what they leave to its trials."""

import math
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from strictune.errors import BudgetError, SpecError
from strictune.packing import Machine
from trainables.devices import GIB
from trainables.memory.architecture import find_architecture

if TYPE_CHECKING:
    from strictune.config import TrialSpec

__all__ = [
    "COMMAND_VARIABLE",
    "KV_CACHE_GIB",
    "beside_servers",
    "server_gib",
    "vllm_command",
    "vllm_groups",
]

COMMAND_VARIABLE = "STRICTUNE_VLLM"
"""Environment variable: what starts vLLM."""
KV_CACHE_GIB = 2
"""Of a server in main memory."""
PROCESSES_GIB = 2.5
"""Its three processes without weights and cache (2.2 to 2.6 measured, vLLM 0.32)."""


def vllm_groups(trials: Sequence["TrialSpec"], *, is_given: bool) -> list[list["TrialSpec"]]:
    """Group the trials of vLLM by the base and the server that they share.

    Args:
        trials: Of any engine.
        is_given: Those whose server runs already, or those whose server the sweep starts.
    """
    groups: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        options = trial.rollouts.vllm_options
        if trial.rollouts.engine == "vllm" and (options.base_url is not None) is is_given:
            parts = (trial.model, trial.quantization, trial.dtype, options.model_dump_json())
            groups.setdefault("\0".join(parts), []).append(trial)
    return list(groups.values())


def vllm_command(given: str | None) -> list[str]:
    """Return what starts vLLM: the file's, the environment's, or ``vllm`` on the PATH.

    Raises:
        SpecError: There is no such command.
    """
    command = shlex.split(given or os.environ.get(COMMAND_VARIABLE) or "vllm")
    if shutil.which(command[0]) is None:
        raise SpecError(
            f"rollouts.engine = vllm: there is no command {command[0]}. Install vLLM into an "
            f"environment of its own, and name its bin/vllm in {COMMAND_VARIABLE} or "
            "rollouts.vllm.command; or give a running server as rollouts.vllm.base_url."
        )
    return command


def server_gib(trial: "TrialSpec") -> float:
    """Return the main memory that the server of a trial's base takes on a machine without GPUs."""
    found = find_architecture(trial.model)
    weights = 0 if found is None else 4 * (found.num_linear_params + found.num_embedding_params)
    return weights / GIB + KV_CACHE_GIB + PROCESSES_GIB


def beside_servers(machines: Sequence[Machine], trials: Sequence["TrialSpec"]) -> list[Machine]:
    """Return what the machines have left for trials beside their servers, on the first of them.

    Raises:
        BudgetError: The servers take more than a GPU, or than there is main memory.
    """
    first, *others = machines
    bases = [members[0] for members in vllm_groups(trials, is_given=False)]
    if not bases:
        return list(machines)
    if first.gpus:
        taken = math.fsum(trial.rollouts.vllm_options.gpu_frac for trial in bases)
        if taken >= 1:
            raise BudgetError(
                f"rollouts.vllm.gpu_memory_utilization: the servers (bases: {len(bases)}) take "
                f"{taken:g} of a GPU, which leaves nothing to trials. Lower it, or run one model "
                "after the other with --only."
            )
        return [replace(first, served_gpu=taken), *others]
    taken = math.fsum(map(server_gib, bases))
    if taken >= first.memory_gib:
        raise BudgetError(
            f"rollouts.engine = vllm: the servers (bases: {len(bases)}) take {taken:.1f} GiB of "
            f"main memory, and {first.memory_gib:.1f} are left. Set trial.rollouts.engine to "
            "transformers, or run on a larger machine."
        )
    return [replace(first, memory_gib=first.memory_gib - taken), *others]
