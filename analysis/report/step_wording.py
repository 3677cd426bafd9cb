"""One thing to do, and the words that steps have in common."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.recipes import CellVerdict
from analysis.sweep import SweepVerdicts
from analysis.trials import TrialVerdict
from analysis.wording import NAMED

__all__ = ["NextStep", "cell_names", "listed", "run_command", "trial_names"]


class NextStep(NamedTuple):
    """One thing to do."""

    text: str
    command: str | None = None


def trial_names(trials: Sequence[TrialVerdict]) -> str:
    """Return e.g. ``tiny · think · standard · seed 0``, or ``12 trials``."""
    return listed([trial.plan.name for trial in trials], "trials")


def cell_names(cells: Sequence[CellVerdict]) -> str:
    """Return e.g. ``tiny · think · standard``, or ``4 cells``."""
    return listed([cell.cell for cell in cells], "cells")


def listed(names: Sequence[str], what: str) -> str:
    """Return the names, or how many there are."""
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} {what}"


def run_command(verdicts: SweepVerdicts, folder: Path, *options: str) -> str | None:
    """Return the command; None for a copy, since a sweep's folder has the sweep's name."""
    if folder.name != verdicts.sweep:
        return None
    out = [] if str(folder.parent) == "runs" else ["--out", str(folder.parent)]
    return shlex.join(["strictune", "run", str(folder / "sweep.yaml"), *options, *out])
