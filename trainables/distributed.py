"""What TRL's trainers are told about a trial's workers: the fields of ``TrainingArguments``."""

import importlib.util
from pathlib import Path
from typing import Any

from strictune.config import TrialSpec
from strictune.errors import TrialError
from trainables.models import training_device

__all__ = ["distributed_arguments"]

ZERO3 = Path(__file__).resolve().parents[1] / "cluster_configs" / "deepspeed" / "zero3.json"


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
            return {"deepspeed": str(_deepspeed_settings())}


def _deepspeed_settings() -> Path:
    if importlib.util.find_spec("deepspeed") is None:
        raise TrialError(
            "distributed.strategy = zero3, but DeepSpeed is not installed here. Install it with "
            "`pip install deepspeed` on every machine, or set strategy to fsdp or ddp."
        )
    if not ZERO3.is_file():
        raise TrialError(
            f"distributed.strategy = zero3 reads its settings from {ZERO3}, which is missing. Run "
            "from a checkout, or set strategy to fsdp or ddp."
        )
    return ZERO3
