"""The fields of ``TrainingArguments`` that set up the workers of a trial."""

import importlib.util
from pathlib import Path
from typing import Any

from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from strictune.config import TrialSpec
from strictune.errors import TrialError
from trainables.models import training_device

__all__ = ["ZERO3", "deepspeed_obstacle", "distributed_arguments", "load_whole_models"]

ZERO3 = Path(__file__).resolve().parents[1] / "cluster_configs" / "deepspeed" / "zero3.json"
"""DeepSpeed's settings; "auto" takes the trial's."""


def distributed_arguments(spec: TrialSpec) -> dict[str, Any]:
    """Return the fields that choose how the workers of a trial share the work.

    Raises:
        TrialError: The strategy cannot be had here.
    """
    if spec.distributed.num_workers == 1:
        return {}
    if spec.distributed.strategy != "ddp" and training_device() == "cpu":
        raise TrialError(
            f"distributed.strategy = {spec.distributed.strategy}, but there is no GPU here: "
            "without one accelerate quietly trains as with ddp. Set strategy to ddp."
        )
    match spec.distributed.strategy:
        case "ddp":
            # Every trained weight is used in every pass; looking for others costs time.
            return {"ddp_find_unused_parameters": False}
        case "fsdp":
            return {"fsdp": True, "fsdp_config": {"version": 2}}
        case "zero3":
            obstacle = deepspeed_obstacle()
            if obstacle is not None:
                raise TrialError(f"distributed.strategy = zero3, but {obstacle}")
            return {"deepspeed": str(ZERO3)}


def load_whole_models() -> None:
    """Let ``from_pretrained`` load models whole again: it shards while ZeRO-3 was once set up."""
    unset_hf_deepspeed_config()


def deepspeed_obstacle() -> str | None:
    """Return why ZeRO-3 cannot run here and the cure; None if it can."""
    if importlib.util.find_spec("deepspeed") is None:
        return "DeepSpeed is not installed. On every machine: pip install deepspeed."
    if not ZERO3.is_file():
        return f"its settings are not at {ZERO3}. Run from a checkout."
    return None
