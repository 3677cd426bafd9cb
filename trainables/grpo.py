"""TRL's ``GRPOTrainer`` for one stage of a trial, with our rewards and records.

The KL reference is the base model in all stages.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PrinterCallback
from trl import GRPOTrainer

from strictune.errors import TrialError
from trainables.context import TrialContext
from trainables.curriculum import PlannedStage, order_prompts
from trainables.grpo_arguments import grpo_arguments
from trainables.models import load_base_model, lora_config
from trainables.prompting import render_prompt
from trainables.record_keeper import RecordKeeper
from trainables.rewards import BatchScorer
from trainables.rollouts.completion import Completion
from trainables.rollouts.completion_text import stop_token_ids
from trainables.rollouts.engines import training_engine
from trainables.tasks.task import Prompt, Score

__all__ = ["build_grpo_trainer", "training_rows"]

logger = logging.getLogger(__name__)


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


def build_grpo_trainer(
    context: TrialContext, stage: PlannedStage, checkpoints: Path, *, adapter: Path | None
) -> GRPOTrainer:
    """Load the base and set up one stage's training, from ``adapter`` where there is one."""
    spec, task = context.spec, context.task
    engine = training_engine(spec, max_prompt_tokens=task.max_prompt_tokens)
    prompts = order_prompts(
        task.prompts("train"),
        stage.spec,
        num_prompts=stage.num_steps * spec.prompts_per_step,
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
        callbacks=[RecordKeeper(context, stage)],
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
