"""What Ray runs: one trial, or one baseline, in a worker process of its own.

The trial's spec lies in its folder; only the folder's path travels through Ray. Ray starts
the function again when its process dies, and the trial goes on from its last checkpoint.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import ray
from ray import tune

from strictune.config import load_trial
from strictune.errors import TrialPaused
from trainables.attempts import HUNG, begin_attempt
from trainables.memory.measured import Probe
from trainables.pulse import HANG_FILE
from trainables.records import record_failure

__all__ = ["Attempt", "describe_card", "measure_baseline_of", "measure_probe_of", "run_trial"]


class Attempt(TypedDict):
    """What the driver tells a worker about the trial that it is to run."""

    folder: str
    driver: str
    """Names one run of the sweep; see ``begin_attempt``."""
    step_timeout_s: float | None
    may_grow: bool
    """More memory can be had, see ``train_trial``."""
    resources: dict[str, float]
    """What Ray sets aside for it: CPU, GPU, memory in bytes."""
    why: str | None
    """Why the trial is run again, where the worker cannot know."""


def run_trial(config: Mapping[str, Attempt]) -> None:
    """Train the trial of ``config["attempt"]`` and report its metrics to Ray Tune.

    The last report has ``state``, or ``paused`` with a ``reason`` for a trial that is open.
    """
    _prepare_process()
    # Imported in the worker: the driver never loads torch.
    from trainables.failures import raise_if_paused
    from trainables.trial import train_trial

    attempt = config["attempt"]
    folder = Path(attempt["folder"])

    def report(step: int, metrics: Mapping[str, float]) -> None:
        tune.report({"step": step, **metrics})

    try:
        try:
            spec = load_trial(folder / "trial.yaml")
            if _hangs_again(folder, attempt):
                return
            outcome = train_trial(
                spec,
                folder=folder,
                report=report,
                step_timeout_s=attempt["step_timeout_s"],
                may_grow=attempt["may_grow"],
            )
        except OSError as error:
            raise_if_paused(error, folder, may_grow=False)
            raise
    except TrialPaused as paused:
        tune.report({"paused": paused.lacks, "reason": str(paused)})
    else:
        tune.report({"step": outcome.steps, "state": outcome.state})


def _hangs_again(folder: Path, attempt: Attempt) -> bool:
    """Begin an attempt, or end the trial if two before it hung without a checkpoint between."""
    *_, before, now = [None, *begin_attempt(folder, driver=attempt["driver"], why=attempt["why"])]
    if before is None or (before["why"], now["why"]) != (HUNG, HUNG):
        return False
    if before["step"] != now["step"]:
        return False
    record_failure(
        folder,
        f"no sign of life for {attempt['step_timeout_s']:g} s, twice after step {now['step']}; "
        f"where it hung is in {HANG_FILE}. Mend it, or raise resources.step_timeout_s.",
    )
    return True


def measure_baseline_of(trial: Path, baselines: Path) -> str:
    """Measure the baseline of the trial in the folder ``trial``; return the baseline's name."""
    _prepare_process()
    from trainables.evaluation.baseline import measure_baseline

    return measure_baseline(load_trial(trial / "trial.yaml"), baselines).name


def measure_probe_of(trial: Path) -> Probe:
    """Measure what the trial in the folder ``trial`` takes at its worst lengths.

    Give it a whole card, or as many cores as the trial will have: its process, a child of this
    one, is not limited to a share.

    Raises:
        BudgetError: The trial needs more memory than this machine has.
        TrialError: It cannot run.
    """
    from trainables.memory.probe import measure_trial

    cores = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    return measure_trial(load_trial(trial / "trial.yaml"), num_threads=max(1, int(cores)))


def describe_card() -> tuple[str, float] | None:
    """Return name and GiB of this machine's smallest card, or None if it has none."""
    import torch

    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    card = min(cards, key=lambda card: card.total_memory, default=None)
    return None if card is None else (str(card.name), card.total_memory / 2**30)


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
