"""An evaluation with its texts, and what became of each prompt between two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.measured import Measured
from analysis.records import RunRecord, prompt_table

__all__ = ["Answers", "Change", "prompt_changes", "read_answers"]


class Change(StrEnum):
    """What training did to one prompt, judged by the primary rung."""

    RESCUED = "rescued"
    REGRESSED = "regressed"
    BOTH_PASS = "both pass"
    BOTH_FAIL = "both fail"

    @property
    def is_flip(self) -> bool:
        """Whether the two sides disagree."""
        return self in (Change.RESCUED, Change.REGRESSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one run answered on its final split."""

    measured: Measured
    samples: pd.DataFrame
    """One row a completion, all columns of ``samples.parquet``."""

    @property
    def components(self) -> list[str]:
        """The reward components that were recorded."""
        names = (str(name) for name in self.samples.columns)
        return [name.removeprefix("reward/") for name in names if name.startswith("reward/")]


def read_answers(record: RunRecord) -> Answers:
    """Read a run whose samples ``measure`` has accepted, this time with the texts."""
    samples = pd.read_parquet(record.samples_file).sort_values(["prompt_id", "sample"])
    return Answers(measured=Measured(record, prompt_table(samples)), samples=samples)


def prompt_changes(ours: Measured, theirs: Measured, rung: str) -> Sequence[Change]:
    """Say for each prompt of ``ours`` what changed; a side passes with half its samples or more.

    Args:
        ours: The trained side.
        theirs: Its baseline, on the same prompts in the same order.
        rung: Judges.
    """
    after, before = ours.rung(rung) >= 0.5, theirs.rung(rung) >= 0.5
    names = np.select(
        [after & ~before, before & ~after, after & before],
        [Change.RESCUED.value, Change.REGRESSED.value, Change.BOTH_PASS.value],
        default=Change.BOTH_FAIL.value,
    )
    return [Change(name) for name in names]
