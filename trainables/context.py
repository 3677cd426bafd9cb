"""What all parts of a running trial share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from strictune.config import ComputeDtype, TrialSpec
from trainables.models import ModelSource
from trainables.ranks import Ranks
from trainables.records import TrialRecords
from trainables.tasks.task import Task

__all__ = ["Report", "TrialContext"]


class Report(Protocol):
    """Where a running trial tells its metrics, e.g. Ray Tune."""

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
