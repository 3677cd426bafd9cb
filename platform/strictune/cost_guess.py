"""A first guess at the time of a trial, for machines and shapes where nothing was timed.

On a card, decoding a token of a small model waits for the host, which starts one kernel after the
other, whatever the card and the batch are; a training pass waits for that or for the card's
arithmetic. On a CPU the arithmetic of one core counts, with one thread. Every completion is taken
to be as long as it may be. It is right within a factor of three or so, and always shown as a guess.
"""

import math
from typing import Literal, NamedTuple

from strictune.config import ComputeDtype, TrialSpec
from strictune.cost_plan import StepPlan
from strictune.errors import StrictuneError
from trainables.devices import cpu_has_bfloat16
from trainables.memory.architecture import Architecture
from trainables.tasks import load_task
from trainables.tasks.selection import select_prompts

__all__ = ["GuessedTimes", "guess_step", "guess_times", "num_evaluated_once"]

LAUNCHES_A_LAYER = 43
"""Kernels of one layer in one decoding step, its linear modules plain, as generation has them in
the merged copy: about 1,300 were counted at 30 layers."""
TRAINED_LAUNCHES_A_LAYER = 90
"""With NF4 and an adapter beside it: about 2,700 at 30 layers."""
LAUNCH_S = 15e-6
"""From one kernel to the next, in Python. Assumed: nobody has timed it for us on a card."""
CARD_FLOPS = 1e14
"""Of one card in half precision. Assumed, between an L4's and an H100's peak."""

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


class GuessedTimes(NamedTuple):
    """Seconds of one optimizer step, and of a whole evaluation."""

    step_s: float
    evaluation_s: float


def guess_step(
    trial: TrialSpec,
    architecture: Architecture | None,
    *,
    device: Literal["cuda", "cpu"],
    dtype: ComputeDtype,
    num_evaluated: int | None,
    num_evaluations: int,
) -> StepPlan:
    """Return a guess for the plan, as far as model and evaluation are known."""
    if architecture is None:
        return StepPlan(step_s=None, evaluation_s=None, source="unknown")
    guessed = guess_times(
        trial,
        architecture,
        device=device,
        dtype=dtype,
        prompt_tokens=load_task(trial.task).max_prompt_tokens,
        num_evaluated=num_evaluated or 0,
    )
    return StepPlan(
        step_s=guessed.step_s,
        evaluation_s=None if num_evaluated is None else guessed.evaluation_s * num_evaluations,
        source="guess",
    )


def num_evaluated_once(trial: TrialSpec) -> int | None:
    """Count the completions of one evaluation; None where its prompts cannot be read here."""
    evaluation = trial.evaluation
    try:
        prompts = load_task(trial.task).prompts(evaluation.final_split)
    except StrictuneError:
        return None
    chosen = select_prompts(prompts, per_difficulty=evaluation.num_prompts_per_difficulty)
    return len(chosen) * evaluation.samples_per_prompt


def guess_times(
    trial: TrialSpec,
    architecture: Architecture,
    *,
    device: Literal["cuda", "cpu"],
    dtype: ComputeDtype,
    prompt_tokens: int,
    num_evaluated: int,
) -> GuessedTimes:
    """Guess how long a step and an evaluation of a trial take.

    Args:
        trial: The trial.
        architecture: Of its model.
        device: What it runs on.
        dtype: What it computes in.
        prompt_tokens: No prompt is longer.
        num_evaluated: Completions of the evaluation.
    """
    # Two operations for each weight and token; the embedding is looked up, the output layer not.
    num_params = architecture.num_linear_params + architecture.vocab * architecture.hidden
    token_flop = 2.0 * num_params
    completions = trial.optimization.completions_per_step
    tokens, evaluated_tokens = trial.max_completion_tokens, trial.max_evaluation_tokens
    if device == "cpu":
        token_s = token_flop / _cpu_flops(dtype)
        generation_s = completions * tokens * token_s
        training_s = CPU_TRAINING * generation_s
        evaluation_s = num_evaluated * evaluated_tokens * token_s
    else:
        launches_s = architecture.num_layers * LAUNCH_S
        decoding_s = LAUNCHES_A_LAYER * launches_s
        generation_s = tokens * max(decoding_s, completions * token_flop / CARD_FLOPS)
        batch = trial.evaluation.batch_size
        evaluated_s = max(decoding_s, batch * token_flop / CARD_FLOPS)
        evaluation_s = math.ceil(num_evaluated / batch) * evaluated_tokens * evaluated_s
        micro_batch = trial.optimization.per_device_train_batch_size
        pass_flop = micro_batch * (prompt_tokens + tokens) * token_flop
        pass_s = max(TRAINED_LAUNCHES_A_LAYER * launches_s, pass_flop / CARD_FLOPS)
        training_s = completions / micro_batch * _passes(trial) * pass_s
    if trial.method == "sft":
        return GuessedTimes(training_s, evaluation_s)
    return GuessedTimes(generation_s / trial.grpo.num_iterations + training_s, evaluation_s)


def _cpu_flops(dtype: ComputeDtype) -> float:
    if dtype != "bfloat16":
        return CPU_FLOPS
    return CPU_FLOPS * (CPU_BFLOAT16 if cpu_has_bfloat16() else CPU_EMULATED)


def _passes(trial: TrialSpec) -> int:
    """Count passes over a micro-batch: forward, backward, what is recomputed, the reference."""
    has_reference = trial.method == "grpo" and trial.grpo.beta > 0
    return 2 + trial.optimization.gradient_checkpointing + has_reference
