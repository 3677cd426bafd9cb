"""What Ray runs: one trial, or one baseline, in a worker process of its own.

The trial's spec lies in its folder; only the folder's path travels through Ray. Ray starts
the function again when its process dies, and the trial goes on from its last checkpoint.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import ray
from ray import tune

from strictune.config import load_trial

__all__ = ["measure_baseline_of", "run_trial"]


def run_trial(config: Mapping[str, str]) -> None:
    """Train the trial in ``config["folder"]`` and report its metrics to Ray Tune."""
    _prepare_process()
    # Imported in the worker: the driver never loads torch.
    from trainables.grpo import train_grpo

    folder = Path(config["folder"])

    def report(step: int, metrics: Mapping[str, float]) -> None:
        tune.report({"step": step, **metrics})

    outcome = train_grpo(load_trial(folder / "trial.yaml"), folder=folder, report=report)
    tune.report({"step": outcome.steps, "state": outcome.state})


def measure_baseline_of(trial: Path, baselines: Path) -> str:
    """Measure the baseline of the trial in the folder ``trial``; return the baseline's name."""
    _prepare_process()
    from trainables.evaluation.baseline import measure_baseline

    return measure_baseline(load_trial(trial / "trial.yaml"), baselines).name


def _prepare_process() -> None:
    """Keep this process inside the share of the machine that Ray gave it.

    Ray's fractions are bookkeeping; the caps on threads and GPU memory make them real.
    """
    import torch

    from trainables.memory.card import limit_to_share

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    resources = ray.get_runtime_context().get_assigned_resources()
    torch.set_num_threads(max(1, int(resources.get("CPU", 1))))
    share = float(resources.get("GPU", 0))
    if 0 < share < 1:
        limit_to_share(share)
