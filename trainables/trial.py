"""One trial from its spec to its outcome: stages, evaluations, artifacts.

``train_trial`` runs in any process; Ray is one caller. Everything durable lies in the trial's
folder, so a trial that was killed goes on where its last checkpoint ended when the same call
is made again, and a trial that has ended is not run again.

Several processes train one trial where ``torch.distributed`` is set up: the same call is made in
each (see ``ranks``).
"""

import gc
import json
import logging
import shutil
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from transformers import logging as transformers_logging

from strictune.config import ComputeDtype, TrialSpec, dump_yaml
from strictune.errors import StrictuneError, TrialError, TrialStopped
from strictune.records import Outcome, read_outcome, write_json
from trainables.context import Report, TrialContext, ignore_report, trial_context
from trainables.curriculum import PlannedStage, plan_stages
from trainables.evaluation.keys import comparison_keys
from trainables.evaluation.measurement import Measurement
from trainables.evaluation.suite import SuiteResult, evaluate_suite, read_result, write_result
from trainables.failures import failure_reason, has_lost_a_rank, raise_if_paused
from trainables.models import resolve_adapter
from trainables.precision import trial_dtype
from trainables.provenance import lock_document
from trainables.pulse import Pulse
from trainables.ranks import Ranks
from trainables.records import FollowedRecords, TrialRecords, record_failure
from trainables.rollouts.engines import evaluation_engine
from trainables.stage import train_stage
from trainables.tasks.selection import select_prompts
from trainables.tasks.task import Split

__all__ = ["train_trial"]

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 60.0
"""How long a restarted trial waits for the process that it replaces."""


def train_trial(
    spec: TrialSpec,
    *,
    folder: Path,
    report: Report = ignore_report,
    step_timeout_s: float | None = None,
    may_grow: bool = False,
) -> Outcome:
    """Train and evaluate one trial, or finish one that was interrupted.

    Args:
        spec: The trial, fully resolved.
        folder: Where it leaves everything; made if missing, resumed if not.
        report: Told the metrics of each logged step.
        step_timeout_s: The process ends itself when a step or an evaluated batch takes longer;
            None waits for ever.
        may_grow: The caller can offer more memory, so running out of it does not end the trial.

    Returns:
        The outcome, also in ``outcome.json``. A trial that fails for a reason of its own (a
        model that cannot be found, an exception in training) ends as FAILED with the reason;
        it does not raise, because trying the same again would give the same. Of several ranks
        the first one returns it at once: whoever started them has to end the others.

    Raises:
        TrialPaused: The disk is full, or memory ran out and ``may_grow``. The trial has no
            outcome and goes on when the same call is made again.
        TrialError: In a rank other than the first: why the trial fails, not yet recorded.
        Exception: Another rank is gone. The trial has no outcome.
    """
    ended = read_outcome(folder)
    if ended is not None:
        return ended
    folder.mkdir(parents=True, exist_ok=True)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    ranks = Ranks.of_this_process()
    if not ranks.is_first:
        return _follow(spec, folder, ranks, may_grow=may_grow)
    try:
        with (
            FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S),
            Pulse(folder, timeout_s=step_timeout_s) as pulse,
        ):
            outcome = _train_locked(spec, folder, report, pulse, ranks, may_grow=may_grow)
    except Timeout as error:
        raise TrialError(f"{folder} is in use by another process.") from error
    return ranks.from_first(outcome) if outcome.state == "FINISHED" else outcome


def _follow(spec: TrialSpec, folder: Path, ranks: Ranks, *, may_grow: bool) -> Outcome:
    """Train as a rank that writes no records, and wait while the first one evaluates."""
    records = FollowedRecords(folder, ranks.from_first())
    try:
        dtype = trial_dtype(spec, folder)
        _train_stages(trial_context(spec, folder, records, dtype=dtype, ranks=ranks))
    except Exception as error:
        raise_if_paused(error, folder, may_grow=may_grow)
        if has_lost_a_rank(error):
            raise
        logger.exception("trial=%s failed in rank %d", spec.trial_id, ranks.rank)
        raise TrialError(_reason(error, spec, records)) from error
    return ranks.from_first()


def _train_locked(
    spec: TrialSpec, folder: Path, report: Report, pulse: Pulse, ranks: Ranks, *, may_grow: bool
) -> Outcome:
    try:
        records = TrialRecords(folder)
    except StrictuneError as error:
        return record_failure(folder, str(error))
    logger.info("trial=%s started at step=%d", spec.trial_id, records.progress.step)
    try:
        dtype = trial_dtype(spec, folder)
        _describe(spec, folder, dtype)
        ranks.from_first(records.progress)
        context = trial_context(
            spec, folder, records, dtype=dtype, report=report, beat=pulse.beat, ranks=ranks
        )
        pulse.beat()
        _evaluate_finally(context, _train_stages(context))
        return records.end("FINISHED")
    except TrialStopped as error:
        logger.info("trial=%s %s", spec.trial_id, error)
        return records.end("KILLED", f"{error} after step {records.progress.step}")
    except Exception as error:
        logger.exception("trial=%s failed", spec.trial_id)
        raise_if_paused(error, folder, may_grow=may_grow)
        if ranks.count > 1 and has_lost_a_rank(error):
            raise
        return records.end("FAILED", _reason(error, spec, records))
    finally:
        records.close()


def _reason(error: Exception, spec: TrialSpec, records: TrialRecords) -> str:
    """Say why a trial failed, in the words of the method that its stage trains by."""
    stage = spec.stages[min(records.progress.stage, len(spec.stages) - 1)]
    return failure_reason(error, method=spec.stage_method(stage))


def _describe(spec: TrialSpec, folder: Path, dtype: ComputeDtype) -> None:
    """Write what the trial is, and what produces its numbers."""
    (folder / "trial.yaml").write_text(dump_yaml(spec), encoding="utf-8")
    keys = comparison_keys(spec, dtype=dtype)
    write_json(
        folder / "lock.json",
        lock_document(
            **keys.document(), seed=spec.seed, ties=list(spec.ties), trial_id=spec.trial_id
        ),
    )


def _train_stages(context: TrialContext) -> Path:
    """Train the stages that are left, each measured when it ends; return the last adapter."""
    stages, records = plan_stages(context.spec), context.records
    for stage in stages[records.progress.stage :]:
        previous = stages[stage.index - 1] if stage.index else None
        adapter = train_stage(
            context,
            stage,
            adapter=_stage_adapter(context.folder, previous) if previous else None,
            evaluate=lambda checkpoint, step: _evaluate_interim(context, checkpoint, step),
        )
        if context.ranks.is_first:
            _measure_stage(context, stage, adapter, is_last=stage is stages[-1])
        step = stage.first_step + stage.num_steps
        records.commit(step=step, stage=stage.index + 1, checkpoint=None)
        context.ranks.wait()
    return _stage_adapter(context.folder, stages[-1])


def _evaluate_interim(context: TrialContext, checkpoint: Path, step: int) -> None:
    """Measure the validation split in the middle of training, once, and tell whoever decides.

    A trial that was killed here tells it again: who decides may have died as well.
    """
    split, records = context.spec.evaluation.split, context.records
    results = context.folder / "eval" / "interim" / str(step)
    if (results / "summary.json").exists():
        result = read_result(results, split=split, criteria=context.task.criteria)
    else:
        result = _evaluate(context, checkpoint, split)
        write_result(result, results)
    metrics = result.metrics("interim")
    if not records.has_logged(step, f"interim/{context.task.primary_criterion}/pass_at_1"):
        records.log(step, metrics)
        records.commit(step=step, stage=records.progress.stage, checkpoint=checkpoint)
    context.report(step, {**metrics, "interim_step": float(step)})
    context.beat()


def _measure_stage(
    context: TrialContext, stage: PlannedStage, adapter: Path, *, is_last: bool
) -> None:
    """Evaluate a stage's adapter on the validation split."""
    split = context.spec.evaluation.split
    result = _evaluate(context, adapter, split)
    write_result(result, context.folder / "eval" / "stages" / stage.spec.name / split)
    if is_last:
        write_result(result, context.folder / "eval" / split)
    step = stage.first_step + stage.num_steps
    metrics = result.metrics("eval")
    primary = f"eval/{context.task.primary_criterion}/pass_at_1"
    context.records.log(step, metrics)
    context.report(step, metrics)
    _keep_best(context, stage, adapter, rate=metrics[primary])


def _evaluate_finally(context: TrialContext, adapter: Path) -> None:
    """Evaluate the last stage's adapter on the final split and leave it as ``adapter/final``."""
    shutil.copytree(adapter, context.folder / "adapter" / "final", dirs_exist_ok=True)
    split = context.spec.evaluation.final_split
    results = context.folder / "eval" / split
    if split == context.spec.evaluation.split:
        # The end of the last stage has measured exactly this.
        result = read_result(results, split=split, criteria=context.task.criteria)
    else:
        result = _evaluate(context, adapter, split)
        write_result(result, results)
    step = context.records.progress.step
    metrics = result.metrics("final")
    context.records.log(step, metrics)
    context.report(step, metrics)


def _evaluate(context: TrialContext, adapter: Path, split: Split) -> SuiteResult:
    """Measure an adapter on a fresh base, as its user would load it."""
    spec = context.spec
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    measurement = Measurement(
        task=context.task,
        prompts=select_prompts(
            context.task.prompts(split), per_difficulty=spec.evaluation.num_prompts_per_difficulty
        ),
        split=split,
        data="",  # Part of no key.
        model=context.source,
        adapter=resolve_adapter(adapter),
        quantization=spec.quantization,
        dtype=context.dtype,
        attn_implementation=spec.attn_implementation,
        thinking=spec.thinking,
        sampling=spec.evaluation,
        rollouts=spec.rollouts,
    )
    return evaluate_suite(
        evaluation_engine(measurement, context.tokenizer),
        context.tokenizer,
        task=context.task,
        prompts=measurement.prompts,
        split=split,
        thinking=spec.thinking,
        sampling=spec.evaluation,
        on_progress=lambda done, total: context.beat(),
    )


def _keep_best(context: TrialContext, stage: PlannedStage, adapter: Path, *, rate: float) -> None:
    """Copy the adapter to ``adapter/best`` if no earlier stage did as well on validation."""
    best = context.folder / "adapter" / "best"
    record = context.folder / "adapter" / "best.json"
    if record.exists() and json.loads(record.read_text())["rate"] >= rate:
        return
    shutil.copytree(adapter, best, dirs_exist_ok=True)
    write_json(record, {"stage": stage.spec.name, "rate": rate})


def _stage_adapter(folder: Path, stage: PlannedStage) -> Path:
    return folder / "adapter" / f"stage-{stage.spec.name}"
