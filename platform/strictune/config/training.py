"""How a trial trains: its precision, its adapter, and the GRPO or SFT that trains it.

Names and defaults are those of TRL's ``GRPOConfig`` and ``SFTConfig`` and PEFT's ``LoraConfig``.
Learning rates alone have other defaults: TRL's are for full models, and adapters want about ten
times as much, in supervised and in reinforcement learning (Schulman et al. 2025, "LoRA Without
Regret").
Left out is what strictune decides itself (output folders, seeds, reward weights, reporting,
precision) and what needs an engine that is not offered.

Supervised training is a control: would it have done what the rewards did? So ``method: sft`` takes
what it is held against from ``grpo``: the prompts, in the order and the stages in which GRPO is
dealt them, and the token limit of a completion. How many steps it has follows from them.
"""

import math
import re
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self, get_args

from pydantic import Field, model_validator

from strictune.config.base import Problem, Spec, refuse
from strictune.config.naming import short_model_name

__all__ = [
    "DTYPES",
    "ComputeDtype",
    "Dtype",
    "GrpoSpec",
    "LoraSpec",
    "OptimizationSpec",
    "Optimizer",
    "Scheduler",
    "SftSpec",
    "SftStage",
    "auto_dtype",
    "grpo_learning_rate",
    "sft_stage",
]

ComputeDtype = Literal["bfloat16", "float16", "float32"]
Dtype = Literal["auto", ComputeDtype]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
"""The precisions that a sweep file may name."""

SIZE = re.compile(r"(?<![a-z\d.])(\d+(?:\.\d+)?)([mb])(?![a-z\d])")
SCALES = {"m": 1e-3, "b": 1.0}
UNKNOWN_SIZE = 1.0
LEARNING_RATES = ((0.5, 2e-4), (2.0, 5e-5), (math.inf, 1e-5))
"""Billions of parameters below which a learning rate is the default; see ``grpo_learning_rate``."""
OUTER_LAYERS = frozenset({"wte", "wpe", "shared", "lm_head", "head", "output", "output_layer"})
"""What embeddings and output layers are called whose names do not say ``embed``."""
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

    def schedule_problems(self) -> Iterator[Problem]:
        """Say what contradicts itself in the schedule."""
        if self.lr_scheduler_type == "constant" and self.warmup_steps > 0:
            yield Problem(
                "warmup_steps",
                f"= {self.warmup_steps:g}, but lr_scheduler_type = constant never warms up. "
                "Set lr_scheduler_type to constant_with_warmup, or warmup_steps to 0.",
            )


class GrpoSpec(OptimizationSpec):
    """Length, batch, optimizer, loss and sampling of the training."""

    max_steps: Annotated[int, Field(ge=1)]
    """Optimizer steps, over all stages."""
    num_generations: Annotated[int, Field(ge=2)] = 8
    """Completions per prompt; below 2 the advantage is always zero."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate; null takes the default for the model's size."""
    beta: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL term (k3) against the reference; 0 needs none."""
    kl_reference: Literal["base", "stage_start"] = "base"
    """What the KL term keeps the model near: the base, or what it was when its stage began."""
    loss_type: Literal["grpo", "dr_grpo", "bnpo", "dapo"] = "dapo"
    """How token losses are averaged: per completion, by a constant, per pass, per step."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """Whose standard deviation divides the advantages."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Clipping range of the probability ratio."""
    epsilon_high: Annotated[float, Field(gt=0)] | None = None
    """Upper clipping range, where it is not ``epsilon``'s; 0.28 in DAPO. Ratios leave 1 in the
    steps after the first over one batch of completions."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """Whether each token has its probability ratio, or each completion (GSPO)."""
    entropy_coef: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a bonus for the mean entropy of a token, against early collapse."""
    num_iterations: Annotated[int, Field(ge=1)] = 1
    """Optimization passes over one batch of completions."""
    steps_per_generation: Annotated[int, Field(ge=1)] | None = None
    """Passes of ``per_device_train_batch_size`` whose completions are generated together: a
    multiple of ``gradient_accumulation_steps``, which null takes. Twice as many generate for two
    optimizer steps at once: fewer and larger batches, by a policy that is a step old in the
    second."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Sampling temperature of training, where a stage does not set its own."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling of training; 1 keeps all tokens."""
    max_completion_length: Annotated[int, Field(ge=1)] = 512
    """Tokens that a completion may have, without the think block's share."""
    max_think_length: Annotated[int, Field(ge=0)] = 0
    """Tokens added to ``max_completion_length`` in cells with thinking."""
    use_bias_correction_kl: bool = True
    """Weight the KL term by the importance ratio."""
    multi_objective_aggregation: Literal[
        "sum_then_normalize", "normalize_then_sum", "saw", "dvao"
    ] = "sum_then_normalize"
    """TRL's two: components are summed before or after their group's normalization. saw and dvao
    follow what a batch shows, see ``trainables.tasks.aggregation``."""
    mask_truncated_completions: bool = False
    """Leave completions that hit the token limit out of the loss."""
    flat_groups: Literal["keep", "drop", "resample"] = "keep"
    """What becomes of groups whose completions all earn the same. keep: they teach nothing, and
    shrink the step of the others. drop: they leave the loss, KL term included, and what it is
    divided by. resample: further prompts take their place, up to as many as are generated for at
    once; groups that are still flat then are dropped."""

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        refuse(*self.schedule_problems(), *self._loss_problems())
        return self

    @property
    def batches_per_generation(self) -> int:
        """Optimizer steps whose completions are generated together."""
        return (self.steps_per_generation or self.gradient_accumulation_steps) // (
            self.gradient_accumulation_steps
        )

    @property
    def completions_per_generation(self) -> int:
        """Completions that one worker generates at once."""
        return self.completions_per_step * self.batches_per_generation

    @property
    def optimizer_steps_per_generation(self) -> int:
        """Optimizer steps from one generation to the next."""
        return self.batches_per_generation * self.num_iterations

    @property
    def keeps_reference(self) -> bool:
        """Whether a copy of the adapter is held as KL reference: the base needs none."""
        return self.beta > 0 and self.kl_reference == "stage_start"

    def num_dealt_steps(self, num_steps: int) -> int:
        """Return for how many steps prompts are dealt: the last generation is a whole one."""
        return math.ceil(num_steps / self.batches_per_generation) * self.batches_per_generation

    def _loss_problems(self) -> Iterator[Problem]:
        scheme, steps = self.multi_objective_aggregation, self.steps_per_generation
        if scheme in ("normalize_then_sum", "dvao") and self.scale_rewards != "group":
            yield Problem(
                "scale_rewards",
                f"= {self.scale_rewards} has no effect with multi_objective_aggregation = "
                f"{scheme}, which divides by the deviations of components in their group. "
                "Leave scale_rewards at group.",
            )
        elif self.flat_groups != "keep" and self.entropy_coef > 0:
            yield Problem(
                "entropy_coef",
                f"= {self.entropy_coef:g} cannot be had with flat_groups = {self.flat_groups}: "
                "the bonus is a mean over all groups. Set entropy_coef to 0, or flat_groups to "
                "keep.",
            )
        if steps is not None and steps % self.gradient_accumulation_steps:
            yield Problem(
                "steps_per_generation",
                f"= {steps} is no multiple of gradient_accumulation_steps = "
                f"{self.gradient_accumulation_steps}: a generation would end inside an optimizer "
                "step. Change one of them.",
            )


class SftSpec(OptimizationSpec):
    """Amount, batch and optimizer of the training on gold completions."""

    match: Literal["completions", "prompts"] = "completions"
    """What is equal to a GRPO trial of the same ``grpo`` block, beside the prompts. completions:
    each gold is trained on as often as GRPO trains on a completion of its prompt, in as many
    passes over a stage, so that the completion tokens are about the same. prompts: once."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate; the default is ten times TRL's, which is for full models."""

    @model_validator(mode="after")
    def _schedule_agrees(self) -> Self:
        refuse(*self.schedule_problems())
        return self


class SftStage(NamedTuple):
    """What one stage of a supervised trial trains on."""

    num_dealt: int
    """Prompts that GRPO is dealt in this stage, which decides their order."""
    num_prompts: int
    """The first of them, those that GRPO trains on: fewer with ``num_iterations`` above 1."""
    num_completions: int
    """Their gold completions, in as many passes as it takes."""
    num_steps: int
    """Optimizer steps; the last one may have fewer completions."""


def sft_stage(sft: SftSpec, grpo: GrpoSpec, *, grpo_steps: int, num_workers: int = 1) -> SftStage:
    """Return what stands against ``grpo_steps`` optimizer steps of GRPO with as many workers."""
    completions_per_step = grpo.completions_per_step * num_workers
    prompts_per_step = completions_per_step // grpo.num_generations
    num_generations = math.ceil(grpo_steps / grpo.optimizer_steps_per_generation)
    num_prompts = num_generations * grpo.batches_per_generation * prompts_per_step
    num_trained = grpo_steps * completions_per_step
    num_completions = num_trained if sft.match == "completions" else num_prompts
    return SftStage(
        num_dealt=grpo.num_dealt_steps(grpo_steps) * prompts_per_step,
        num_prompts=num_prompts,
        num_completions=num_completions,
        num_steps=math.ceil(num_completions / (sft.completions_per_step * num_workers)),
    )


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
            text = (
                f"names {', '.join(outer)}, an embedding or output layer: where one matrix is "
                "both, an adapter on it cannot be merged, and TRL does not train one on the "
                "output layer. Expected linear layers inside the blocks, such as q_proj; leave it "
                "out."
            )
            refuse(Problem("target_modules", text))
        return self


def _is_outer(module: str) -> bool:
    name = module.rpartition(".")[2]
    return "embed" in name or name in OUTER_LAYERS


def grpo_learning_rate(model: str) -> float:
    """Return the default learning rate of an adapter trained by GRPO, by the model's size.

    It is 2e-4 below 0.5 billion parameters, 5e-5 below 2 billion and where the name says no size,
    1e-5 above.

    2e-4 is what SmolLM2-135M has learned from here; 5e-5 and 1e-5 are those of TRL's guide to
    LoRA for Qwen3-0.6B and SmolLM3-3B.

    Args:
        model: Its name, in which a number with M or B is taken for its parameters.
    """
    name = short_model_name(model)
    sizes = [float(number) * SCALES[scale] for number, scale in SIZE.findall(name)]
    billions = max(sizes, default=UNKNOWN_SIZE)
    return next(rate for below, rate in LEARNING_RATES if billions < below)


def auto_dtype(
    device: Literal["cuda", "cpu"], *, has_bfloat16: bool, quantization: Literal["nf4", "none"]
) -> ComputeDtype:
    """Return the precision that suits a device.

    A processor that emulates bfloat16 multiplies 58 times slower in it than in float32 (AVX2,
    measured). A GPU that lacks it (Turing, such as the T4) computes NF4 in float16 under loss
    scaling; a base that is not quantized stays in float32, where nothing can overflow.

    Args:
        device: What computes.
        has_bfloat16: It does so in hardware.
        quantization: Of the base.
    """
    if has_bfloat16:
        return "bfloat16"
    return "float16" if device == "cuda" and quantization == "nf4" else "float32"
