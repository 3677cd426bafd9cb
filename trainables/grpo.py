"""TRL's ``GRPOTrainer`` for one stage of a trial, with our rewards and records."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import GRPOTrainer

from trainables.adapters import continue_adapter, keep_reference, widen_adapter
from trainables.adaptive import AdaptivePool
from trainables.adaptive_trainer import AdaptiveTrainer
from trainables.aggregating import AggregatingTrainer
from trainables.completion_logps import completion_logps
from trainables.context import TrialContext
from trainables.curriculum import PlannedStage, order_prompts
from trainables.flat_groups import DroppingTrainer, ResamplingTrainer
from trainables.models import load_base_model, lora_config
from trainables.record_keeper import RecordKeeper
from trainables.records import TrialRecords
from trainables.rewards import BatchScorer
from trainables.rollouts.completion import Completion, stop_token_ids
from trainables.rollouts.engines import training_engine
from trainables.rollouts.training_engine import TrainingEngine
from trainables.tasks.task import Prompt, Score
from trainables.trainer_arguments import grpo_arguments
from trainables.training_prompts import training_prompts

__all__ = ["build_grpo_trainer"]


def build_grpo_trainer(
    context: TrialContext, stage: PlannedStage, checkpoints: Path, *, adapter: Path | None
) -> GRPOTrainer:
    """Load the base and set up one stage's training, from ``adapter`` where there is one."""
    spec, task = context.spec, context.task
    engine = training_engine(context)
    num_prompts = spec.grpo.num_dealt_steps(stage.num_steps) * spec.prompts_per_step
    prompts = task.prompts("train")
    if not stage.spec.is_adaptive:
        prompts = order_prompts(prompts, stage.spec, num_prompts=num_prompts, seed=spec.seed)
    dealt = training_prompts(context, prompts)
    rows = [_row(prompt, text) for prompt, text, _ in dealt]
    pool = None
    if stage.spec.is_adaptive:
        pool = AdaptivePool(
            [one.prompt for one in dealt],
            group_size=spec.grpo.num_generations,
            num_completions=num_prompts * spec.grpo.num_generations // spec.grpo.num_iterations,
            seed=f"{spec.seed}/{stage.spec.name}",
        )
    model = load_base_model(
        context.source,
        quantization=spec.quantization,
        dtype=context.dtype,
        attn_implementation=spec.attn_implementation,
    )
    scorer = BatchScorer(
        task,
        context.tokenizer,
        thinking=spec.thinking,
        think_prefilled=dealt[0].think_prefilled,
        stop_ids=stop_token_ids(context.tokenizer, model.generation_config),
        sink=_RewardRecorder(context, stage, pool),
        ranks=context.ranks,
        # Where the weights make sure that it cannot be, it is not counted.
        weights=None
        if spec.task.decisive_components(spec.thinking)
        else spec.stage_weights(stage.spec),
    )
    trainer = TRAINERS[spec.grpo.flat_groups](
        model=model,
        reward_funcs=scorer.reward_functions(),
        args=grpo_arguments(
            spec,
            stage,
            dtype=context.dtype,
            components=task.components,
            folder=checkpoints,
            rollouts=engine.arguments(),
        ),
        # Of a pool's data set only the length counts.
        train_dataset=Dataset.from_list(rows if pool is None else rows[:1] * num_prompts),
        processing_class=context.tokenizer,
        callbacks=[RecordKeeper(context, stage)],
        peft_config=lora_config(spec.lora),
    )
    trainer.engine, trainer.records = engine, context.records
    trainer.aggregation = spec.grpo.multi_objective_aggregation
    trainer.pool, trainer.pool_rows = pool, rows
    if isinstance(trainer, ResamplingTrainer) and pool is None:
        trainer.spares, trainer.spares_per_generation = _spares(context, stage)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_KeepGenerationSteps(trainer))
    engine.settle(trainer)
    widen_adapter(trainer.model)
    if adapter is not None:
        continue_adapter(trainer.model, adapter)
    if spec.grpo.keeps_reference:
        keep_reference(trainer.model)
    return trainer


class _MeteredTrainer(AdaptiveTrainer, AggregatingTrainer):
    """TRL's trainer, which counts the tokens that its loss reads, and times the parts of a step.

    It also compares, for every token, the log-probability with which it was sampled and the one
    that the trained model gave it then. They differ by rounding: generation computes one token at
    a time, from merged weights where ``rollouts.weights`` says so, or in a server. TRL reports
    mean and maximum for vLLM only; the names are TRL's.
    """

    engine: TrainingEngine
    use_vllm: bool
    records: TrialRecords
    _trained_logps: torch.Tensor
    """Of the last tokens that were scored: (B, T)."""
    _differences: tuple[torch.Tensor, ...] = ()
    """Of an optimizer step, by micro-batch."""
    _generation_s = _scoring_s = 0.0
    """Of the optimizer step so far."""

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        """Log beside TRL's time of an optimizer step what generation and scoring took of it."""
        loss: torch.Tensor = super().training_step(*given, **named)
        if self._step % self.current_gradient_accumulation_steps == 0:
            self._metrics["train"]["generation_s"].append(self._generation_s)
            self._metrics["train"]["scoring_s"].append(self._scoring_s)
            self._generation_s = self._scoring_s = 0.0
        return loss

    def _calculate_rewards(self, *batch: Any) -> torch.Tensor:
        started = time.perf_counter()
        rewards: torch.Tensor = super()._calculate_rewards(*batch)
        self._scoring_s += time.perf_counter() - started
        return rewards

    def _generate_single_turn(self, *given: Any, **named: Any) -> tuple[Any, Any]:
        started = time.perf_counter()
        # With vLLM it stands for the correction; the engine takes the place of ``generate``.
        corrects, self.use_vllm = self.use_vllm, False
        try:
            completion_ids, logps = super()._generate_single_turn(*given, **named)
        finally:
            self.use_vllm = corrects
        if self.engine.logps is not None:
            pairs = zip(self.engine.logps, completion_ids, strict=True)
            logps = [row[: len(ids)] for row, ids in pairs]
        self._generation_s += time.perf_counter() - started
        return completion_ids, logps

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **named: Any,
    ) -> Any:
        if self._reads_prompts_once():
            rows = batch_size or len(input_ids)
            chunks = zip(
                torch.split(input_ids, rows), torch.split(attention_mask, rows), strict=True
            )
            with self.accelerator.autocast():
                parts = [completion_logps(model, *each, logits_to_keep) for each in chunks]
            logps, entropies = map(torch.cat, zip(*parts, strict=True))
            found: Any = (logps, entropies, None)
        else:
            found = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **named
            )
        self._trained_logps = found[0].detach()
        return found

    def _reads_prompts_once(self) -> bool:
        """Whether it is measured to pay, on a CPU, and gives the same: not with dropout."""
        return (
            self.accelerator.device.type == "cpu"
            and self.accelerator.num_processes == 1
            and not self.args.gradient_checkpointing
            and not self.aux_loss_enabled
            and self.model.peft_config["default"].lora_dropout == 0
        )

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        mask = inputs["completion_mask"].bool()  # (B, T)
        self.records.count_tokens(int(self.accelerator.gather(mask.sum()).sum()))
        if "sampling_per_token_logps" in inputs:
            # In later passes over a batch the model is another than it was sampled from.
            trained = inputs.get("old_per_token_logps", self._trained_logps)
            difference = (trained - inputs["sampling_per_token_logps"]).abs()
            self._differences += (difference[mask].float(),)
            if self.accelerator.sync_gradients:
                self._report_difference(torch.cat(self._differences))
                self._differences = ()
        return loss

    def _report_difference(self, found: torch.Tensor) -> None:
        """Report one optimizer step's differences: (tokens)."""
        if not len(found):
            found = found.new_zeros(1)
        p99 = found.kthvalue(math.ceil(0.99 * len(found))).values  # quantile takes 16M at most.
        numbers = torch.stack([found.mean(), p99, found.max()])
        ranks = self.accelerator.gather(numbers[None])  # (ranks, 3)
        values = (*ranks[:, :2].mean(dim=0).tolist(), float(ranks[:, 2].max()))
        for name, value in zip(("mean", "p99", "max"), values, strict=True):
            self._metrics["train"][f"sampling/sampling_logp_difference/{name}"].append(value)


class _DroppingTrainer(_MeteredTrainer, DroppingTrainer):
    """The same without flat groups."""


class _ResamplingTrainer(_MeteredTrainer, ResamplingTrainer):
    """The same with further prompts in the place of flat groups."""


TRAINERS = {"keep": _MeteredTrainer, "drop": _DroppingTrainer, "resample": _ResamplingTrainer}
"""By ``grpo.flat_groups``."""


def _spares(context: TrialContext, stage: PlannedStage) -> tuple[list[dict[str, Any]], int]:
    """Deal further prompts by the stage's mix, and say how many each generation may draw.

    As many as it has prompts.
    """
    spec = context.spec
    each = spec.prompts_per_step * spec.grpo.batches_per_generation
    num_generations = math.ceil(stage.num_steps / spec.grpo.optimizer_steps_per_generation)
    prompts = order_prompts(
        context.task.prompts("train"),
        stage.spec.model_copy(update={"name": f"{stage.spec.name}/spares"}),
        num_prompts=num_generations * each,
        seed=spec.seed,
    )
    return [_row(prompt, text) for prompt, text, _ in training_prompts(context, prompts)], each


def _row(prompt: Prompt, text: str) -> dict[str, Any]:
    """Return a row of the data set; rewards are computed from its columns."""
    return {
        "prompt": text,
        "prompt_id": prompt.id,
        "family": prompt.family,
        "difficulty": prompt.difficulty,
        "columns": dict(prompt.columns),
    }


class _KeepGenerationSteps(TrainerCallback):  # type: ignore[misc]
    """Makes a resumed trainer generate in the steps in which an uninterrupted one does.

    TRL 1.16 counts micro-batches from 0 at each start, so that after a checkpoint between two
    steps of one generation every later one would come a step late. The prompts of the interrupted
    generation are answered anew for the steps that are left of it.
    """

    def __init__(self, trainer: GRPOTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Continue the counts from the checkpoint."""
        self._trainer._step = state.global_step * args.gradient_accumulation_steps


class _RewardRecorder:
    """Writes scored training completions to the trial's reward matrix, and tells the pool."""

    def __init__(
        self, context: TrialContext, stage: PlannedStage, pool: AdaptivePool | None
    ) -> None:
        self._pool = pool
        self._criterion = context.task.primary_criterion
        self._records = context.records
        self._weights = context.spec.stage_weights(stage.spec)
        self._group_size = context.spec.grpo.num_generations
        self._stage = stage

    def __call__(
        self,
        step: int,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        scores: Sequence[Score],
    ) -> None:
        self._records.add_rewards(
            self._stage.first_step + step,
            prompts,
            completions,
            scores,
            weights=self._weights,
            group_size=self._group_size,
        )
        if self._pool is not None:
            passed = [score.criteria.get(self._criterion) for score in scores]
            self._pool.observe(prompts, passed)
