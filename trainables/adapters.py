"""The adapter that is being trained: its precision, and where it goes on."""

from pathlib import Path

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from strictune.errors import TrialError

__all__ = ["continue_adapter", "widen_adapter"]


def widen_adapter(model: PeftModel) -> None:
    """Keep the trained weights in float32, as PEFT does by default.

    TRL casts them to bfloat16 on a 4-bit base. There an update below about 1/256 of a weight
    is rounded away, which is most of them at learning rates such as 5e-6.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def continue_adapter(model: PeftModel, folder: Path) -> None:
    """Load the weights of the adapter in ``folder`` into the one of ``model``.

    Raises:
        TrialError: It has another shape.
    """
    result = set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    if result.unexpected_keys:
        raise TrialError(f"{folder} holds an adapter of another shape: {result.unexpected_keys}")
