"""Trains a trial in this process and kills it (``kill -9``) at a place, or lets it end.

``python killed_trial.py TRIAL_YAML FOLDER PLACE``, where the place is ``end``, ``step:N`` (when
optimizer step N is reported) or ``stage:N`` (between two stages, before stage N begins).
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from strictune.config import load_trial
from trainables import trial


def main(spec: Path, folder: Path, place: str) -> None:
    """Train until there."""
    kind, _, number = place.partition(":")

    def report(step: int, metrics: Mapping[str, float]) -> None:
        if kind == "step" and step == int(number) and "train/loss" in metrics:
            os.kill(os.getpid(), signal.SIGKILL)

    train_stage = trial.train_stage

    def begin_stage(context: Any, stage: Any, **rest: Any) -> Path:
        if kind == "stage" and stage.index == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return train_stage(context, stage, **rest)

    trial.train_stage = begin_stage
    torch.set_num_threads(1)
    trial.train_trial(load_trial(spec), folder=folder, report=report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
