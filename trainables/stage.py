"""One stage of a trial, trained from checkpoint to checkpoint, pausing at interim evaluations.

Every stage starts from a freshly loaded base with a fresh optimizer and the adapter that the
stage before it ended with.
"""

import logging
import shutil
from pathlib import Path
from typing import Protocol

from trainables.context import TrialContext
from trainables.curriculum import PlannedStage
from trainables.distributed import load_whole_models
from trainables.grpo import build_grpo_trainer
from trainables.models import ADAPTER_FILES
from trainables.sft import build_sft_trainer

__all__ = ["InterimEvaluation", "train_stage"]

logger = logging.getLogger(__name__)


class InterimEvaluation(Protocol):
    """What happens where training pauses."""

    def __call__(self, checkpoint: Path, step: int) -> None:
        """Measure the adapter in ``checkpoint``, of a step over all stages."""


def train_stage(
    context: TrialContext, stage: PlannedStage, *, adapter: Path | None, evaluate: InterimEvaluation
) -> Path:
    """Train one stage, from its last checkpoint where there is one, and return its adapter.

    Args:
        context: The trial.
        stage: Which stage.
        adapter: The adapter to start from; None for a new one.
        evaluate: Called at each of the trial's interim steps, with no trainer in memory.

    Returns:
        The folder of the stage's adapter, in PEFT's format.
    """
    spec, folder, records = context.spec, context.folder, context.records
    checkpoints = folder / "checkpoints" / f"stage-{stage.index}"
    final_checkpoint = checkpoints / f"checkpoint-{stage.num_steps}"
    while True:
        resume_from = records.progress.checkpoint
        if resume_from and records.progress.step in spec.interim_steps:
            evaluate(folder / resume_from, records.progress.step)
        if records.progress.step >= stage.first_step + stage.num_steps:
            break
        # A function of its own, so that nothing of the trainer is left while it is evaluated.
        _train_on(context, stage, checkpoints, adapter=adapter)
    stage_adapter = folder / "adapter" / f"stage-{stage.spec.name}"
    if context.ranks.is_first:
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
    """Train from the last checkpoint to the next interim evaluation, or to the end of the stage."""
    is_supervised = context.spec.stage_method(stage.spec) == "sft"
    build = build_sft_trainer if is_supervised else build_grpo_trainer
    trainer = build(context, stage, checkpoints, adapter=adapter)
    resume_from = context.records.progress.checkpoint
    trainer.train(resume_from_checkpoint=str(context.folder / resume_from) if resume_from else None)
    load_whole_models()
