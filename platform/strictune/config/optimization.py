"""Batch, optimizer and schedule: what TRL's ``GRPOConfig`` and ``SFTConfig`` have in common.

Names and defaults are TRL's own.
"""

from typing import Annotated, Literal

from pydantic import Field

from strictune.config.base import Problem, Spec

__all__ = ["OptimizationSpec", "Optimizer", "Scheduler"]

Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
]
Optimizer = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_bnb_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "adafactor",
    "sgd",
]


class OptimizationSpec(Spec):
    """The fields that both trainers read."""

    per_device_train_batch_size: Annotated[int, Field(ge=1)] = 8
    """Completions in one forward and backward pass of one worker."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Passes behind one optimizer step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Peak learning rate."""
    lr_scheduler_type: Scheduler = "linear"
    """Course of the learning rate over a stage."""
    warmup_steps: Annotated[float, Field(ge=0)] = 0.0
    """Steps of linear warm-up; below 1 it is the share of a stage's steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are clipped to this norm; 0 clips nothing."""
    optim: Optimizer = "adamw_torch_fused"
    """Optimizer; the ones with bnb, 8bit or paged in their name are those of bitsandbytes."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, slower steps."""
    logging_steps: Annotated[int, Field(ge=1)] = 1
    """Steps between two records of the training metrics."""

    @property
    def completions_per_step(self) -> int:
        """Completions behind one optimizer step of one worker."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def schedule_problems(self) -> list[Problem]:
        """Say what contradicts itself in the schedule."""
        if self.lr_scheduler_type == "constant" and self.warmup_steps > 0:
            return [
                Problem(
                    "warmup_steps",
                    f"= {self.warmup_steps:g}, but lr_scheduler_type = constant never warms up. "
                    "Set lr_scheduler_type to constant_with_warmup, or warmup_steps to 0.",
                )
            ]
        return []
