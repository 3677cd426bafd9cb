"""One measurement: a model, with or without an adapter, on prompts of a task.

Trials, baselines and ``strictune evaluate`` describe their evaluations with it, so that the
keys of comparability mean the same in all of them.
"""

from dataclasses import dataclass
from typing import Literal

from strictune.config import Attention, ComputeDtype, SamplingSpec, TrialSpec
from trainables.models import ModelSource, resolve_model
from trainables.tasks import load_task
from trainables.tasks.selection import select_prompts
from trainables.tasks.task import Prompt, Task

__all__ = ["Measurement", "baseline_measurement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One model on one suite."""

    task: Task
    prompts: tuple[Prompt, ...]
    split: str
    """The split, or the suite's name."""
    data: str
    """Hash of the data that the prompts come from."""
    model: ModelSource
    adapter: ModelSource | None = None
    quantization: Literal["nf4", "none"]
    dtype: ComputeDtype
    attn_implementation: Attention | None = None
    """None is what model and device lead to."""
    thinking: bool
    engine: str = "transformers"
    """What generates; the same in all evaluations, whatever a trial's rollouts use."""
    sampling: SamplingSpec
    weights: Literal["merged", "adapter"] = "merged"
    """What it generates from, see ``RolloutsSpec``; they differ by rounding."""
    max_prompt_tokens: int | None = None
    """Longer prompts are refused; None is the task's limit."""
    answer_grammars: tuple[str, ...] | None = None
    """What the answer to each prompt is held to; None decodes freely."""


def baseline_measurement(spec: TrialSpec, *, dtype: ComputeDtype) -> Measurement:
    """Return what a trial's cell measures on its final split in ``dtype``, without an adapter."""
    task = load_task(spec.task)
    evaluation = spec.evaluation
    return Measurement(
        task=task,
        prompts=select_prompts(
            task.prompts(evaluation.final_split),
            per_difficulty=evaluation.num_prompts_per_difficulty,
        ),
        split=evaluation.final_split,
        data=task.data_hash(),
        model=resolve_model(spec.model, trust_remote_code=spec.trust_remote_code),
        quantization=spec.quantization,
        dtype=dtype,
        attn_implementation=spec.attn_implementation,
        thinking=spec.thinking,
        weights=spec.rollouts.weights,
        sampling=evaluation,
    )
