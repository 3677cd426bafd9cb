"""The trainer callback that fills a trial's records: steps, checkpoints, signs of life."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from strictune.errors import TrialError
from trainables.context import TrialContext
from trainables.curriculum import PlannedStage
from trainables.failures import divergence_advice
from trainables.memory.process import PeakMeter

__all__ = ["RecordKeeper"]


class RecordKeeper(TrainerCallback):  # type: ignore[misc]
    """Copies the trainer's logs to the records, and commits them with each checkpoint."""

    def __init__(self, context: TrialContext, stage: PlannedStage) -> None:
        self._context = context
        self._stage = stage
        self._peak = PeakMeter()

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record a sign of life."""
        self._context.beat()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record a sign of life, and pause after a step that is evaluated."""
        self._context.beat()
        if self._stage.first_step + state.global_step in self._context.spec.interim_steps:
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
        metrics["train/completion_tokens"] = self._context.records.completion_tokens
        metrics |= self._peak.read()
        _refuse_divergence(metrics, step, method=self._context.spec.stage_method(self._stage.spec))
        self._context.records.log(step, metrics)
        measured = {name: float(value) for name, value in metrics.items() if value is not None}
        self._context.report(step, measured)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make what led to this checkpoint durable, once every rank has written its part of it."""
        self._context.ranks.wait()
        self._context.records.commit(
            step=self._stage.first_step + state.global_step,
            stage=self._stage.index,
            checkpoint=Path(str(args.output_dir)) / f"checkpoint-{state.global_step}",
        )


def _refuse_divergence(metrics: Mapping[str, float | None], step: int, *, method: str) -> None:
    """End the trial once its adapter is lost: every later number would be about nothing.

    Raises:
        TrialError: The loss or the gradient is not a number.
    """
    for key in ("train/loss", "train/grad_norm"):
        value = metrics.get(key)
        if value is not None and not math.isfinite(value):
            raise TrialError(f"{key} is {value} at step {step}. {divergence_advice(method)}")


def _metric_key(name: str) -> str:
    """Translate TRL's log keys to the keys of the design; the others are ``train/...``."""
    fixed = {
        "reward": "reward/total/mean",
        "reward_std": "reward/total/std",
        "frac_reward_zero_std": "reward/zero_std_groups_frac",
        "step_time": "time/step_s",
        "generation_s": "time/generation_s",
        "scoring_s": "time/scoring_s",
    }
    if name in fixed:
        return fixed[name]
    if name.startswith("rewards/"):
        return f"reward/{name.removeprefix('rewards/')}"
    return f"train/{name}"
