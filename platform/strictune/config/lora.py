"""The adapter of a trial, in the words of PEFT's ``LoraConfig``."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from strictune.config.base import Problem, Spec, refuse

__all__ = ["LoraSpec"]

OUTER_LAYERS = frozenset({"wte", "wpe", "shared", "lm_head", "head", "output", "output_layer"})
"""What embeddings and output layers are called whose names do not say ``embed``."""


class LoraSpec(Spec):
    """The adapter, in the words of PEFT's ``LoraConfig``."""

    r: Annotated[int, Field(ge=1, le=256)] = 16
    """Rank of the adapter."""
    lora_alpha: Annotated[int, Field(ge=1)] = 32
    """Scale of the adapter: its output is multiplied by ``lora_alpha / r``."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Linear layers that get an adapter; neither the embedding nor the output layer."""

    @model_validator(mode="after")
    def _targets_are_inside_the_blocks(self) -> Self:
        outer = [name for name in self.target_modules if _is_outer(name)]
        if outer:
            refuse(
                [
                    Problem(
                        "target_modules",
                        f"names {', '.join(outer)}, an embedding or output layer: where one matrix "
                        "is both, an adapter on it cannot be merged, and TRL does not train one "
                        "on the output layer. Expected linear layers inside the blocks, such as "
                        "q_proj; leave it out.",
                    )
                ]
            )
        return self


def _is_outer(module: str) -> bool:
    name = module.rpartition(".")[2]
    return "embed" in name or name in OUTER_LAYERS
