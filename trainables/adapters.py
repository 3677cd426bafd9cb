"""The adapter that is being trained: its precision, its start, its KL reference."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from strictune.errors import TrialError

__all__ = ["continue_adapter", "keep_reference", "widen_adapter"]

REFERENCE = "ref"
"""The adapter that TRL takes for its KL reference where the model has one of this name; without
it the adapter is switched off, which leaves the base."""


def widen_adapter(model: PeftModel) -> None:
    """Keep the trained weights in float32, as PEFT does by default.

    TRL casts them to bfloat16 on a 4-bit base. There an update below about 1/256 of a weight
    is rounded away, which is most of them at learning rates such as 5e-6.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def keep_reference(model: PeftModel) -> None:
    """Keep the adapter as it is now, beside the one that is trained, as TRL's KL reference.

    Checkpoints hold it too, so that a resumed stage is held near the same model.
    """
    model.add_adapter(REFERENCE, model.peft_config["default"])
    weights = get_peft_model_state_dict(model, adapter_name="default")
    set_peft_model_state_dict(model, weights, adapter_name=REFERENCE)


def continue_adapter(model: PeftModel, folder: Path) -> None:
    """Load the weights of the adapter in ``folder`` into the one of ``model``.

    PEFT leaves out what has no place, and what is missing at its first value, which is no effect.

    Raises:
        TrialError: The folder has other weights than the model has places for.
    """
    stored = load_file(folder / "adapter_model.safetensors")
    result = set_peft_model_state_dict(model, stored)
    placeless = result.unexpected_keys
    # Missing of a model are, for PEFT, also the base's weights.
    prefix = getattr(model.base_model, "prefix", "")
    missing = [name for name in result.missing_keys if prefix and prefix in name]
    if placeless or missing:
        num_places = len(stored) - len(placeless) + len(missing)
        counts = {
            f"{len(placeless)} of {len(stored)} of its weights have no place": len(placeless),
            f"{len(missing)} of {num_places} that belong there are missing": len(missing),
        }
        raise TrialError(
            f"adapter {str(folder)!r} does not fit its base: "
            f"{' and '.join(text for text, count in counts.items() if count)}, e.g. "
            f"{(placeless or missing)[0]}. Choose the model that it was trained on, or train again."
        )
