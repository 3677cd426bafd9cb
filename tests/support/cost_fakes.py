"""Trials and measurements for the tests of costs."""

from typing import Any

from strictune.config import SweepSpec, TrialSpec, expand
from strictune.packing import Gpu, Machine
from trainables.devices import cpu_name
from trainables.memory.measured import Probe, TrialCost

GPU = Gpu(name="NVIDIA GPU", memory_gib=24.0)
ON_GPU = Machine(cpus=16, memory_gib=64, gpus=1, gpu=GPU)
ON_CPU = Machine(cpus=4, memory_gib=16)


def sweep_of(
    *,
    matrix: dict[str, Any] | None = None,
    resources: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    **trial: Any,
) -> SweepSpec:
    grpo = {"max_steps": 100} | trial.pop("grpo", {})
    return SweepSpec.model_validate(
        {
            "name": "small",
            "task": {"kind": "strict_json"},
            "trial": {"model": "builtin:tiny", "grpo": grpo, **trial},
            "matrix": matrix or {},
            "resources": resources or {},
            "evaluation": evaluation or {},
        }
    )


def trials_of(**changes: Any) -> tuple[TrialSpec, ...]:
    return expand(sweep_of(**changes))


def a_probe(**changes: Any) -> Probe:
    fields: dict[str, Any] = {
        "device": cpu_name(),
        "gpu_gib": None,
        "gpu_size_gib": None,
        "memory_gib": 2.0,
        "step_s": 36.0,
        "evaluation_s": 360.0,
        "prompt_tokens": 300,
        "num_threads": 1,
        "seconds": 100.0,
    }
    return Probe(**fields | changes)


def a_cost(**changes: Any) -> TrialCost:
    fields: dict[str, Any] = {
        "device": cpu_name(),
        "curriculum": "standard",
        "num_threads": 1,
        "gpus": None,
        "num_steps": 100,
        "step_s": 18.0,
        "evaluation_s": 720.0,
        "other_s": 180.0,
        "gpu_gib": None,
        "memory_gib": 3.0,
    }
    return TrialCost(**fields | changes)
