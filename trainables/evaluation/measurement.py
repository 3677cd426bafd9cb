"""One measurement: a model, with or without an adapter, on prompts of a task.

Trials, baselines and ``strictune evaluate`` describe their evaluations with it, so that the
keys of comparability mean the same in all of them.
"""

from dataclasses import dataclass, field
from typing import Literal

from strictune.config import Attention, ComputeDtype, RolloutsSpec, SamplingSpec, TrialSpec
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
    sampling: SamplingSpec
    rollouts: RolloutsSpec = field(default_factory=RolloutsSpec)
    """The engine and its options; what weights it generates from is a matter of rounding."""
    max_prompt_tokens: int | None = None
    """Longer prompts are refused; None is the task's limit."""
    answer_grammars: tuple[str, ...] | None = None
    """What the answer to each prompt is held to; None decodes freely."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the longest prompt with its completion."""
        longest = self.max_prompt_tokens or self.task.max_prompt_tokens
        return longest + self.sampling.max_tokens(thinking=self.thinking)

    @property
    def engine(self) -> Literal["transformers", "vllm"]:
        """What generates; a server knows nothing of our grammars."""
        is_free = self.answer_grammars is None
        return self.rollouts.evaluation_engine if is_free else "transformers"


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
        rollouts=spec.rollouts,
        sampling=evaluation,
    )
