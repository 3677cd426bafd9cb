"""What all parts of a running trial share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from strictune.config import ComputeDtype, TrialSpec
from trainables.models import ModelSource, load_tokenizer, resolve_model
from trainables.precision import resolve_dtype
from trainables.ranks import Ranks
from trainables.records import TrialRecords
from trainables.tasks import load_task
from trainables.tasks.task import Task

__all__ = ["Report", "TrialContext", "ignore_report", "trial_context"]


class Report(Protocol):
    """Takes the metrics of a running trial, e.g. for Ray Tune."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one step over all stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialContext:
    """What all parts of a running trial share."""

    spec: TrialSpec
    folder: Path
    dtype: ComputeDtype
    """What ``spec.dtype`` became on this device."""
    task: Task
    source: ModelSource
    tokenizer: PreTrainedTokenizerBase
    records: TrialRecords
    report: Report
    beat: Callable[[], None]
    """Called whenever the trial has got on; raises when it is to stop."""
    ranks: Ranks = field(default_factory=Ranks)
    """The processes that train the trial together."""


def ignore_report(step: int, metrics: Mapping[str, float]) -> None:
    """Ignore metrics."""


def trial_context(
    spec: TrialSpec,
    folder: Path,
    records: TrialRecords,
    *,
    dtype: ComputeDtype | None = None,
    report: Report = ignore_report,
    beat: Callable[[], None] = lambda: None,
    ranks: Ranks | None = None,
) -> TrialContext:
    """Load the context of a trial.

    Args:
        spec: The trial.
        folder: Where its records and checkpoints are.
        records: Those of the folder.
        dtype: What ``spec.dtype`` became when the trial began; None resolves it on this device.
        report: Where it tells its metrics.
        beat: Called whenever it has got on.
        ranks: The processes that train it together; None is this one alone.

    Raises:
        TrialError: The model or its tokenizer cannot be loaded.
        SpecError: The task cannot.
    """
    ranks = ranks or Ranks()
    source = resolve_model(spec.model, trust_remote_code=spec.trust_remote_code)
    return TrialContext(
        spec=spec,
        folder=folder,
        dtype=dtype or resolve_dtype(spec.dtype, quantization=spec.quantization),
        # What the trial may use of a budget is spent by all ranks together.
        task=load_task(spec.task.shared_by(ranks.count)),
        source=source,
        tokenizer=load_tokenizer(source),
        records=records,
        report=report,
        beat=beat,
        ranks=ranks,
    )
