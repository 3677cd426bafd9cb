"""A plain copy of a model, its adapter merged in, that completions are generated from.

A 4-bit base with an adapter beside each layer unpacks every weight and computes the adapter anew
for each token. The copy does both once for all tokens. What it samples from differs from the
model by rounding alone: by 3e-5 of a logit in float32 (builtin:tiny); in bfloat16 by the rounding
of the merged weights.
"""

import copy
import logging
from typing import Any, Literal, cast

import torch
from accelerate import init_empty_weights
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import nn
from transformers import PreTrainedModel

from strictune.config import Attention, ComputeDtype
from trainables.models import ModelSource, load_adapter, load_base_model

__all__ = ["MergedCopy", "load_for_generation", "merged_copy"]

logger = logging.getLogger(__name__)


class MergedCopy:
    """The copy, kept up to date with a model that is being trained.

    Weights that no adapter changes and that are not quantized are shared with the model.
    """

    def __init__(self, model: PreTrainedModel | PeftModel) -> None:
        """Copy ``model``; its adapters must be plain LoRA, see ``merged_copy``."""
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        self.model = _without_weights(base)
        self._merged: list[tuple[Any, Any]] = []
        for name, module in base.named_modules():
            if isinstance(module, LoraLayer):
                copied = self.model.get_submodule(name)
                _share_weights(module.get_base_layer(), copied)
                copied.weight = _frozen(torch.empty_like(copied.weight))
                self._merged.append((module, copied))
            elif not _is_inside_adapter(name):
                _share_weights(module, self.model.get_submodule(name))
        self.model.eval()
        self.refresh()

    def refresh(self) -> None:
        """Merge the adapter as it is now, in float32, rounding once."""
        with torch.no_grad():
            for layer, copied in self._merged:
                weight = dequantize_module_weight(layer.get_base_layer()).float()
                for name in layer.active_adapters:
                    weight = weight + layer.get_delta_weight(name).float()
                copied.weight.copy_(weight)


def merged_copy(model: PreTrainedModel | PeftModel) -> MergedCopy | None:
    """Return a copy to generate from, or None where it cannot be merged or does not fit."""
    if isinstance(model, PeftModel) and not all(map(_is_plain_lora, model.peft_config.values())):
        return None
    try:
        return MergedCopy(model)
    except torch.OutOfMemoryError:
        logger.warning(
            "the GPU has no room for a merged copy of the model: completions are generated "
            "through its layers and the adapter beside them, more slowly"
        )
        return None


def load_for_generation(
    source: ModelSource,
    *,
    adapter: ModelSource | None,
    quantization: Literal["nf4", "none"],
    dtype: ComputeDtype,
    attn_implementation: Attention | None = None,
    weights: Literal["merged", "adapter"],
) -> PreTrainedModel | PeftModel:
    """Load a model to be measured: the base, with an adapter if there is one.

    Raises:
        TrialError: The base cannot be loaded, or the adapter does not fit it.
    """
    base = load_base_model(
        source, quantization=quantization, dtype=dtype, attn_implementation=attn_implementation
    )
    model = base if adapter is None else load_adapter(base, adapter)
    copied = merged_copy(model) if weights == "merged" else None
    return model if copied is None else copied.model


def _is_plain_lora(config: Any) -> bool:
    return (
        isinstance(config, LoraConfig)
        and config.bias == "none"
        and not (config.use_dora or config.lora_bias or config.modules_to_save)
        and not (config.trainable_token_indices or config.target_parameters)
    )


def _without_weights(base: PreTrainedModel) -> PreTrainedModel:
    """Build a model like ``base`` that is not quantized and has no memory for its weights yet."""
    config = copy.deepcopy(base.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with init_empty_weights(include_buffers=False):
        built = type(base)(config)
    built.generation_config = base.generation_config
    return cast(PreTrainedModel, built)


def _share_weights(module: nn.Module, copied: nn.Module) -> None:
    """Give ``copied`` the module's own tensors, dequantized where they are packed."""
    for name, parameter in module.named_parameters(recurse=False):
        is_weight = name == "weight"
        value = dequantize_module_weight(module) if is_weight else parameter
        setattr(copied, name, _frozen(value.detach()))
    for name, buffer in module.named_buffers(recurse=False):
        setattr(copied, name, buffer)


def _frozen(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _is_inside_adapter(name: str) -> bool:
    """Whether a module's name lies below a LoRA layer: ``base_layer``, ``lora_A.default``, ..."""
    return any(part == "base_layer" or part.startswith("lora_") for part in name.split("."))
