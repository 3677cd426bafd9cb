"""TRL's ``SFTTrainer`` for one stage of a trial: supervised training on gold completions.

It is held against GRPO, so everything else is the same: base, adapter, prompts and their order,
stages, records. The loss reads the completion and the token that ends a turn, not the prompt.
Completions are tokenized and labelled here, behind exactly the tokens that a prompt has when
the model answers it; TRL would tokenize both as one text, where tokens may merge across the
border. Nothing is packed.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from strictune.errors import TrialError
from trainables.adapters import continue_adapter, widen_adapter
from trainables.context import TrialContext
from trainables.curriculum import PlannedStage, order_prompts, plan_stages
from trainables.models import load_base_model, lora_config
from trainables.prompting import end_of_turn_id
from trainables.record_keeper import RecordKeeper
from trainables.records import TrialRecords
from trainables.rollouts.completion import stop_token_ids
from trainables.tasks.task import Prompt, Task
from trainables.trainer_arguments import on_one_gpu, trainer_arguments
from trainables.training_prompts import training_prompts

__all__ = ["IGNORED", "SftData", "build_sft_trainer", "gold_of", "sft_data", "sft_trainer"]

logger = logging.getLogger(__name__)

IGNORED = -100
"""The label of a token that the loss does not read."""


class SftData(NamedTuple):
    """The data of a stage."""

    prompts: Sequence[Prompt]
    """In the order in which they were dealt."""
    num_completions: int
    """Their golds are gone through again and again until there are so many."""
    golds: Mapping[str, str] = MappingProxyType({})
    """Golds by the prompt's id that take the place of the task's."""


def build_sft_trainer(
    context: TrialContext, stage: PlannedStage, checkpoints: Path, *, adapter: Path | None
) -> SFTTrainer:
    """Load the base and set up one stage's training, from ``adapter`` where there is one."""
    data = sft_data(context, stage)
    return sft_trainer(context, stage, checkpoints, data=data, adapter=adapter)


def sft_data(context: TrialContext, stage: PlannedStage) -> SftData:
    """Return the prompts that GRPO trains on in this stage, and how often their golds count.

    Of prompts whose golds the model draws those that got none are left out.

    Raises:
        TrialError: None of them got one.
    """
    prompts = _dealt(context, stage)
    num_completions = context.spec.sft_stages[stage.index].num_completions
    if not context.spec.task.draws_golds:
        return SftData(prompts, num_completions)
    # Imported where golds are drawn: the memory probe needs no grammar engine.
    from trainables.own_golds import own_golds

    stages = [
        one for one in plan_stages(context.spec) if context.spec.stage_method(one.spec) == "sft"
    ]
    ids = {prompt.id for one in stages for prompt in _dealt(context, one)}
    # In the split's order: seeds that deal the same prompts share their golds.
    golds = own_golds(
        context, [prompt for prompt in context.task.prompts("train") if prompt.id in ids]
    )
    kept = [prompt for prompt in prompts if prompt.id in golds]
    if not kept:
        raise TrialError(
            f"task.golds = grammar: none of the {len(prompts)} prompts of stage {stage.spec.name} "
            "got a gold. Raise grpo.num_generations, or use method: grpo."
        )
    return SftData(kept, num_completions, golds)


def _dealt(context: TrialContext, stage: PlannedStage) -> list[Prompt]:
    planned = context.spec.sft_stages[stage.index]
    dealt = order_prompts(
        context.task.prompts("train"),
        stage.spec,
        num_prompts=planned.num_dealt,
        seed=context.spec.seed,
    )
    return dealt[: planned.num_prompts]


def sft_trainer(
    context: TrialContext,
    stage: PlannedStage,
    checkpoints: Path,
    *,
    data: SftData,
    adapter: Path | None,
) -> SFTTrainer:
    """Set up the training of one stage on given data."""
    spec = context.spec
    model = load_base_model(
        context.source,
        quantization=spec.quantization,
        dtype=context.dtype,
        attn_implementation=spec.attn_implementation,
    )
    stop_ids = stop_token_ids(context.tokenizer, model.generation_config)
    rows = _rows(context, data, end_id=end_of_turn_id(context.tokenizer, stop_ids))
    trainer = _MeteredTrainer(
        model=model,
        args=on_one_gpu(
            SFTConfig(
                max_length=None,  # Rows are cut where a completion of GRPO would be.
                train_sampling_strategy="sequential",
                **trainer_arguments(
                    spec, stage, dtype=context.dtype, folder=checkpoints, without=("match",)
                ),
            )
        ),
        train_dataset=Dataset.from_list(rows).select(
            [index % len(rows) for index in range(data.num_completions)]
        ),
        processing_class=context.tokenizer,
        callbacks=[RecordKeeper(context, stage)],
        peft_config=lora_config(spec.lora),
    )
    trainer.records = context.records
    trainer.remove_callback(PrinterCallback)
    widen_adapter(trainer.model)
    if adapter is not None:
        continue_adapter(trainer.model, adapter)
    return trainer


def gold_of(task: Task, prompt: Prompt, *, thinking: bool) -> str:
    """Return what a model should write after the rendered prompt.

    Raises:
        TrialError: The task does not know it.
    """
    gold = task.gold_completion(prompt, thinking=thinking)
    if gold is None:
        raise TrialError(
            f"training prompt {prompt.id} of task {task.kind} has no gold completion, and "
            "method = sft trains on them. Use grpo, or give every training prompt one."
        )
    return gold


def _rows(context: TrialContext, data: SftData, *, end_id: int) -> list[dict[str, list[int]]]:
    """Return the input ids and labels of each prompt with its gold."""
    limit, num_cut = context.spec.max_completion_tokens, 0
    rows = []
    for prompt, text, _ in training_prompts(context, data.prompts):
        prompt_ids = _ids(context.tokenizer, text)
        gold = data.golds.get(prompt.id) or gold_of(
            context.task, prompt, thinking=context.spec.thinking
        )
        completion = [*_completion_ids(context, text, gold), end_id]
        num_cut += len(completion) > limit
        completion = completion[:limit]
        labels = [IGNORED] * len(prompt_ids) + completion
        rows.append({"input_ids": prompt_ids + completion, "labels": labels})
    if num_cut:
        logger.info(
            "trial=%s cut %d of %d gold completions to %d tokens",
            context.spec.trial_id,
            num_cut,
            len(rows),
            limit,
        )
    return rows


def _completion_ids(context: TrialContext, text: str, gold: str) -> list[int]:
    """Tokenize a gold as it stands behind its prompt, whose own tokens stay as they are."""
    alone = _ids(context.tokenizer, text)
    together = _ids(context.tokenizer, text + gold)
    if together[: len(alone)] == alone:
        return together[len(alone) :]
    # Tokens merge across the border. The model starts behind the prompt's own all the same.
    return _ids(context.tokenizer, gold, add_special_tokens=False)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, **options: bool) -> list[int]:
    return list(tokenizer(text, **options)["input_ids"])


class _MeteredTrainer(SFTTrainer):  # type: ignore[misc]
    """Counts the tokens that the loss reads and times the steps, as ``GRPOTrainer`` does."""

    records: TrialRecords
    _seconds = 0.0
    _first_step: int | None = None

    def training_step(self, model: Any, inputs: Any, *rest: Any, **options: Any) -> torch.Tensor:
        """Train on one micro-batch."""
        if self._first_step is None:
            self._first_step = self.state.global_step
            # TRL 1.16 counts from 0 at each start.
            self._total_train_tokens = self.state.num_input_tokens_seen
        started = time.perf_counter()
        loss: torch.Tensor = super().training_step(model, inputs, *rest, **options)
        self._seconds += time.perf_counter() - started
        self.state.num_input_tokens_seen = self._total_train_tokens
        num_read = (inputs["labels"] != IGNORED).sum()
        self.records.count_tokens(int(self.accelerator.gather(num_read).sum()))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean time of the steps since the last log."""
        num_steps = self.state.global_step - (self._first_step or 0)
        if num_steps > 0 and self._seconds:
            logs = {**logs, "step_time": self._seconds / num_steps}
            self._seconds, self._first_step = 0.0, self.state.global_step
        super().log(logs, start_time)
