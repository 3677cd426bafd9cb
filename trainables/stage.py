"""One stage of a trial: TRL's ``GRPOTrainer`` with our rewards, records and checkpoints.

Every stage starts from a freshly loaded base with a fresh optimizer and the adapter that the
stage before it ended with. The KL reference is the base model in all stages.
"""

import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from datasets import Dataset
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import GRPOTrainer

from strictune.config import TrialSpec
from strictune.errors import TrialError
from trainables.curriculum import PlannedStage, order_prompts
from trainables.failures import DIVERGED
from trainables.grpo_arguments import grpo_arguments
from trainables.memory.peak import PeakMeter
from trainables.models import ADAPTER_FILES, ModelSource, load_base_model, lora_config
from trainables.prompting import render_prompt
from trainables.records import TrialRecords
from trainables.rewards import BatchScorer
from trainables.rollouts.completion import Completion
from trainables.rollouts.completion_text import stop_token_ids
from trainables.rollouts.engines import training_engine
from trainables.tasks.task import Prompt, Score, Task

__all__ = ["Look", "Report", "TrialContext", "build_trainer", "train_stage", "training_rows"]

logger = logging.getLogger(__name__)


class Report(Protocol):
    """Where a running trial tells its metrics, e.g. Ray Tune."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one step over all stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialContext:
    """What all parts of a running trial share."""

    spec: TrialSpec
    folder: Path
    task: Task
    source: ModelSource
    tokenizer: PreTrainedTokenizerBase
    records: TrialRecords
    report: Report
    beat: Callable[[], None]
    """Called whenever the trial has got on; raises when it is to stop."""


class Look(Protocol):
    """What happens where training pauses."""

    def __call__(self, checkpoint: Path, step: int) -> None:
        """Measure the adapter in ``checkpoint``, of a step over all stages."""


def train_stage(
    context: TrialContext, stage: PlannedStage, *, adapter: Path | None, look: Look
) -> Path:
    """Train one stage, from its last checkpoint where there is one, and return its adapter.

    Args:
        context: The trial.
        stage: Which stage.
        adapter: The adapter to start from; None for a new one.
        look: Called at each of the trial's looks, with no trainer in memory.

    Returns:
        The folder of the stage's adapter, in PEFT's format.
    """
    spec, folder, records = context.spec, context.folder, context.records
    checkpoints = folder / "checkpoints" / f"stage-{stage.index}"
    final_checkpoint = checkpoints / f"checkpoint-{stage.num_steps}"
    while True:
        resume_from = records.progress.checkpoint
        if resume_from and records.progress.step in spec.looks:
            look(folder / resume_from, records.progress.step)
        if records.progress.step >= stage.first_step + stage.num_steps:
            break
        # A function of its own, so that nothing of the trainer is left while a look is taken.
        _train_on(context, stage, checkpoints, adapter=adapter)
    stage_adapter = folder / "adapter" / f"stage-{stage.spec.name}"
    stage_adapter.mkdir(parents=True, exist_ok=True)
    for name in ADAPTER_FILES:
        shutil.copyfile(final_checkpoint / name, stage_adapter / name)
    logger.info(
        "trial=%s stage=%s ended after %d steps", spec.trial_id, stage.spec.name, stage.num_steps
    )
    return stage_adapter


def _train_on(
    context: TrialContext, stage: PlannedStage, checkpoints: Path, *, adapter: Path | None
) -> None:
    """Train from the last checkpoint to the next look, or to the end of the stage."""
    trainer = build_trainer(context, stage, checkpoints, adapter=adapter)
    resume_from = context.records.progress.checkpoint
    trainer.train(resume_from_checkpoint=str(context.folder / resume_from) if resume_from else None)


def training_rows(
    context: TrialContext, prompts: Sequence[Prompt]
) -> tuple[list[dict[str, Any]], bool]:
    """Render prompts to data-set rows; those over the token limit are dropped.

    Returns:
        The rows (prompt, prompt_id, family, difficulty, columns), and whether the prompts
        opened the think block.

    Raises:
        TrialError: No prompt is short enough.
    """
    thinking = context.spec.thinking
    rows: list[dict[str, Any]] = []
    think_prefilled = False
    for prompt in prompts:
        messages = context.task.messages(prompt, thinking=thinking)
        text, think_prefilled = render_prompt(context.tokenizer, messages, thinking=thinking)
        if len(context.tokenizer(text)["input_ids"]) > context.task.max_prompt_tokens:
            continue
        rows.append(
            {
                "prompt": text,
                "prompt_id": prompt.id,
                "family": prompt.family,
                "difficulty": prompt.difficulty,
                "columns": dict(prompt.columns),
            }
        )
    if not rows:
        raise TrialError(
            f"every training prompt has more than {context.task.max_prompt_tokens} tokens with "
            f"the tokenizer of {context.source.name}."
        )
    if len(rows) < len(prompts):
        logger.info(
            "trial=%s dropped %d of %d training prompts with more than %d tokens",
            context.spec.trial_id,
            len(prompts) - len(rows),
            len(prompts),
            context.task.max_prompt_tokens,
        )
    return rows, think_prefilled


def build_trainer(
    context: TrialContext, stage: PlannedStage, checkpoints: Path, *, adapter: Path | None
) -> GRPOTrainer:
    """Load the base and set up one stage's training, from ``adapter`` where there is one."""
    spec, task = context.spec, context.task
    engine = training_engine(spec, max_prompt_tokens=task.max_prompt_tokens)
    prompts = order_prompts(
        task.prompts("train"),
        stage.spec,
        num_prompts=stage.num_steps * spec.grpo.prompts_per_step,
        seed=spec.seed,
    )
    rows, think_prefilled = training_rows(context, prompts)
    model = load_base_model(context.source, quantization=spec.quantization, dtype=spec.dtype)
    scorer = BatchScorer(
        task,
        context.tokenizer,
        thinking=spec.thinking,
        think_prefilled=think_prefilled,
        stop_ids=stop_token_ids(context.tokenizer, model.generation_config),
        sink=_RewardRecorder(context, stage),
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=scorer.reward_functions(),
        args=grpo_arguments(
            spec,
            stage,
            components=task.components,
            folder=checkpoints,
            rollouts=engine.arguments(),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=context.tokenizer,
        callbacks=[_RecordKeeper(context, stage)],
        peft_config=lora_config(spec.lora),
    )
    trainer.remove_callback(PrinterCallback)
    engine.settle(trainer)
    _widen_adapter(trainer.model)
    if adapter is not None:
        _load_adapter(trainer.model, adapter)
    return trainer


def _widen_adapter(model: PeftModel) -> None:
    """Keep the trained weights in float32, as PEFT does by default.

    TRL casts them to bfloat16 on a 4-bit base. There an update below about 1/256 of a weight
    is rounded away, which is most of them at learning rates such as 5e-6.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)


def _load_adapter(model: PeftModel, folder: Path) -> None:
    result = set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    if result.unexpected_keys:
        raise TrialError(f"{folder} holds an adapter of another shape: {result.unexpected_keys}")


class _RewardRecorder:
    """Writes scored training completions to the trial's reward matrix."""

    def __init__(self, context: TrialContext, stage: PlannedStage) -> None:
        self._records = context.records
        self._weights = context.spec.stage_weights(stage.spec)
        self._group_size = context.spec.grpo.num_generations
        self._first_step = stage.first_step

    def __call__(
        self,
        step: int,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        scores: Sequence[Score],
    ) -> None:
        self._records.add_rewards(
            self._first_step + step,
            prompts,
            completions,
            scores,
            weights=self._weights,
            group_size=self._group_size,
        )


class _RecordKeeper(TrainerCallback):  # type: ignore[misc]
    """Copies the trainer's logs to the records, and commits them with each checkpoint."""

    def __init__(self, context: TrialContext, stage: PlannedStage) -> None:
        self._context = context
        self._stage = stage
        self._peak = PeakMeter()

    def on_substep_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Say that a micro-batch is done."""
        self._context.beat()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Say that a step is done, and pause after the step of a look."""
        self._context.beat()
        if self._stage.first_step + state.global_step in self._context.spec.looks:
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float | None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record one step's metrics; the trainer's closing summary is left out."""
        if not logs or "train_runtime" in logs:
            return
        step = self._stage.first_step + state.global_step
        metrics = {_metric_key(name): value for name, value in logs.items()}
        metrics |= self._peak.read()
        _refuse_divergence(metrics, step)
        self._context.records.log(step, metrics)
        measured = {name: float(value) for name, value in metrics.items() if value is not None}
        self._context.report(step, measured)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Make what led to this checkpoint durable."""
        self._context.records.commit(
            step=self._stage.first_step + state.global_step,
            stage=self._stage.index,
            checkpoint=Path(str(args.output_dir)) / f"checkpoint-{state.global_step}",
        )


def _refuse_divergence(metrics: Mapping[str, float | None], step: int) -> None:
    """End the trial once its adapter is lost: every later number would be about nothing.

    Raises:
        TrialError: The loss or the gradient is not a number.
    """
    for key in ("train/loss", "train/grad_norm"):
        value = metrics.get(key)
        if value is not None and not math.isfinite(value):
            raise TrialError(f"{key} is {value} at step {step}. {DIVERGED}")


def _metric_key(name: str) -> str:
    """Translate TRL's log keys to the keys of the design; the others are ``train/...``."""
    fixed = {
        "reward": "reward/total/mean",
        "reward_std": "reward/total/std",
        "frac_reward_zero_std": "reward/zero_std_groups_frac",
        "step_time": "time/step_s",
    }
    if name in fixed:
        return fixed[name]
    if name.startswith("rewards/"):
        return f"reward/{name.removeprefix('rewards/')}"
    return f"train/{name}"
