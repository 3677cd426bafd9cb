"""A first guess at the time of a trial, for machines and shapes where nothing was timed.

On a GPU, decoding a token of a small model waits for the host, which starts one kernel after the
other, whatever the GPU and the batch are; a training pass waits for that or for the GPU's
arithmetic. On a CPU the arithmetic of one core counts, with one thread. Every completion is taken
to be as long as it may be. It is right within a factor of three or so, and shown as a guess.
"""

import math
from typing import Literal, NamedTuple

from strictune.config import ComputeDtype, TrialSpec
from strictune.errors import StrictuneError
from strictune.records import StepPlan
from trainables.devices import cpu_has_bfloat16
from trainables.memory.architecture import Architecture
from trainables.tasks import load_task
from trainables.tasks.selection import select_prompts

__all__ = ["guess_step", "num_evaluations"]

LAUNCHES_A_LAYER = 43
"""Kernels of one layer in one decoding step, its linear modules plain, as generation has them in
the merged copy: about 1,300 were counted at 30 layers."""
TRAINED_LAUNCHES_A_LAYER = 90
"""With NF4 and an adapter beside it: about 2,700 at 30 layers."""
LAUNCH_S = 15e-6
"""From one kernel to the next, in Python. Assumed, not measured by us."""
GPU_FLOPS = 1e14
"""Of one GPU in half precision. Assumed, between an L4's and an H100's peak."""

CPU_FLOPS = 1e10
"""Of one core that generates in float32: 46 tokens a second of SmolLM2-135M in batches of 16, and
2,400 of builtin:tiny in batches of 32, are 12 and 7 GFLOP/s (AVX2)."""
CPU_BFLOAT16 = 2.3
"""Times as fast in bfloat16 where the processor has it: 270 against 115 tokens a second."""
CPU_EMULATED = 0.27
"""Where it has not: a step took 45 s instead of 12."""
CPU_TRAINING = 1.2
"""Forward and backward pass on a CPU, in terms of generation: 3.4 s a step of builtin:tiny, which
generates in 5.5 s with NF4 and an adapter, and in half of that from plain weights."""


def guess_step(
    trial: TrialSpec,
    architecture: Architecture | None,
    *,
    device: Literal["cuda", "cpu"],
    dtype: ComputeDtype,
) -> StepPlan:
    """Guess how long a step and all evaluations of a trial take, as far as they are known.

    ``architecture`` is that of its model, None where it is not known.
    """
    if architecture is None:
        return StepPlan()
    num_steps = trial.method_steps
    guesses = [_guess_part(part, architecture, device=device, dtype=dtype) for part in trial.parts]
    step_s = sum(
        guess.step_s * num_steps[part.method]
        for guess, part in zip(guesses, trial.parts, strict=True)
    )
    return StepPlan(
        step_s=step_s / sum(num_steps.values()),
        evaluation_s=guesses[0].evaluation_s,
        source="guess",
    )


class _Guess(NamedTuple):
    step_s: float
    evaluation_s: float | None


def _guess_part(
    trial: TrialSpec,
    architecture: Architecture,
    *,
    device: Literal["cuda", "cpu"],
    dtype: ComputeDtype,
) -> _Guess:
    """Guess the times of a trial of one method."""
    # Two operations for each weight and token; the embedding is looked up, the output layer not.
    num_params = architecture.num_linear_params + architecture.vocab * architecture.hidden
    token_flop = 2.0 * num_params
    grpo, tokens = trial.grpo, trial.max_completion_tokens
    batch, num_evaluated = trial.evaluation.batch_size, _num_evaluated(trial)
    if device == "cpu":
        token_s = token_flop / _cpu_flops(dtype)
        generation_s = grpo.completions_per_generation * tokens * token_s
        training_s = CPU_TRAINING * trial.optimization.completions_per_step * tokens * token_s
        batch_s = batch * trial.max_evaluation_tokens * token_s
        num_batches = (num_evaluated or 0) / batch
    else:
        launches_s = architecture.num_layers * LAUNCH_S
        decoding_s = LAUNCHES_A_LAYER * launches_s
        generated_flop = grpo.completions_per_generation * token_flop
        generation_s = tokens * max(decoding_s, generated_flop / GPU_FLOPS)
        training_s = _gpu_training_s(trial, launches_s=launches_s, token_flop=token_flop)
        batch_s = trial.max_evaluation_tokens * max(decoding_s, batch * token_flop / GPU_FLOPS)
        num_batches = math.ceil((num_evaluated or 0) / batch)
    if trial.method == "sft":
        generation_s = 0.0
    return _Guess(
        step_s=generation_s / grpo.optimizer_steps_per_generation + training_s,
        evaluation_s=None
        if num_evaluated is None
        else num_evaluations(trial) * num_batches * batch_s,
    )


def num_evaluations(trial: TrialSpec) -> int:
    """Count one evaluation for each stage, and one of the final split where it is another."""
    evaluation = trial.evaluation
    return len(trial.stages) + (evaluation.split != evaluation.final_split)


def _num_evaluated(trial: TrialSpec) -> int | None:
    """Count the completions of one evaluation; None where its prompts cannot be read here."""
    evaluation = trial.evaluation
    try:
        prompts = load_task(trial.task).prompts(evaluation.final_split)
    except StrictuneError:
        return None
    chosen = select_prompts(prompts, per_difficulty=evaluation.num_prompts_per_difficulty)
    return len(chosen) * evaluation.samples_per_prompt


def _gpu_training_s(trial: TrialSpec, *, launches_s: float, token_flop: float) -> float:
    """Count passes over a micro-batch: forward, backward, what is recomputed, the reference."""
    optimization = trial.optimization
    micro_batch = optimization.per_device_train_batch_size
    length = load_task(trial.task).max_prompt_tokens + trial.max_completion_tokens
    pass_s = max(
        TRAINED_LAUNCHES_A_LAYER * launches_s, micro_batch * length * token_flop / GPU_FLOPS
    )
    has_reference = trial.method == "grpo" and trial.grpo.beta > 0
    num_passes = 2 + optimization.gradient_checkpointing + has_reference
    return optimization.completions_per_step / micro_batch * num_passes * pass_s


def _cpu_flops(dtype: ComputeDtype) -> float:
    if dtype != "bfloat16":
        return CPU_FLOPS
    return CPU_FLOPS * (CPU_BFLOAT16 if cpu_has_bfloat16() else CPU_EMULATED)
