"""What Ray runs: one trial, or one baseline, in a worker process of its own.

The trial's spec lies in its folder; only the folder's path travels through Ray. Ray starts
the function again when its process dies, and the trial goes on from its last checkpoint.

A trial of several workers is trained by Ray Train's inside this function, which computes nothing
itself. When one of them dies, Ray Train ends the others and this function fails, so that a trial
is started again, counted and given up in the same way with one worker and with many.
"""

import ctypes
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import ray
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError

from strictune.config import TrialSpec, load_trial
from strictune.errors import TrialError, TrialPaused
from strictune.records import Outcome, read_outcome
from trainables.devices import require_gpu
from trainables.memory.measured import Probe
from trainables.pulse import HANG_FILE
from trainables.records import HUNG, begin_attempt, record_failure

__all__ = [
    "Attempt",
    "ServedModel",
    "describe_gpu",
    "measure_baseline_of",
    "measure_probe_of",
    "run_trial",
    "serve_base_of",
]


RANKS_TIMEOUT_S = 7 * 24 * 3600
"""How long ranks wait for the first one, which evaluates alone. A rank that died ends the others
at once, and one that hangs is the watchdog's business."""


class Attempt(TypedDict):
    """What the driver tells a worker about the trial that it is to run."""

    folder: str
    driver: str
    """Names one run of the sweep; see ``begin_attempt``."""
    step_timeout_s: float | None
    may_grow: bool
    """More memory can be had, see ``train_trial``."""
    resources: dict[str, float]
    """What Ray sets aside for each worker: CPU, GPU, memory in bytes."""
    num_workers: int
    why: str | None
    """Why the trial is run again, where the worker cannot know."""


def run_trial(config: Mapping[str, Attempt]) -> None:
    """Train the trial of ``config["attempt"]`` and report its metrics to Ray Tune.

    The last report has ``state``, or ``paused`` with a ``reason`` for a trial that is open.
    """
    attempt = config["attempt"]
    folder = Path(attempt["folder"])
    train = _train_here if attempt["num_workers"] == 1 else _train_on_workers
    # Imported in the worker: the driver never loads torch.
    from trainables.failures import raise_if_paused

    try:
        try:
            spec = load_trial(folder / "trial.yaml")
            if _hangs_again(folder, attempt):
                return
            outcome = train(spec, attempt)
        except OSError as error:
            raise_if_paused(error, folder, may_grow=False)
            raise
    except TrialPaused as paused:
        tune.report({"paused": paused.lacks, "reason": str(paused)})
    else:
        tune.report({"step": outcome.steps, "state": outcome.state})


def _train_here(spec: TrialSpec, attempt: Attempt) -> Outcome:
    """Train in this process."""
    folder = Path(attempt["folder"])
    try:
        _prepare_process()
    except TrialError as error:
        return record_failure(folder, str(error))
    from trainables.trial import train_trial

    def report(step: int, metrics: Mapping[str, float]) -> None:
        tune.report({"step": step, **metrics})

    return train_trial(
        spec,
        folder=folder,
        report=report,
        step_timeout_s=attempt["step_timeout_s"],
        may_grow=attempt["may_grow"],
    )


def _train_on_workers(spec: TrialSpec, attempt: Attempt) -> Outcome:
    """Train in as many workers of Ray Train, each a rank, and wait for them.

    What they measure lies in the trial's folder; nothing of it passes through Ray.

    Raises:
        TrialPaused: The trial lacks disk or memory.
        WorkerGroupError: A worker is gone.
    """
    from ray.train.torch import TorchConfig, TorchTrainer

    folder = Path(attempt["folder"])
    trainer = TorchTrainer(
        _train_rank,
        train_loop_config={"attempt": attempt},
        torch_config=TorchConfig(timeout_s=RANKS_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=attempt["num_workers"],
            use_gpu=attempt["resources"].get("GPU", 0) > 0,
            resources_per_worker=dict(attempt["resources"]),
        ),
        run_config=RunConfig(
            storage_path=tune.get_context().get_trial_dir(),
            failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        _record_failure_of(error, folder)
    outcome = read_outcome(folder)
    assert outcome is not None
    return outcome


def _train_rank(config: Mapping[str, Attempt]) -> None:
    """Train as one rank; raises unless the trial is finished, which ends the other ranks."""
    attempt = config["attempt"]
    folder = Path(attempt["folder"])
    try:
        _prepare_process()
    except TrialError as error:
        record_failure(folder, str(error))
        raise
    from trainables.trial import train_trial

    outcome = train_trial(
        load_trial(folder / "trial.yaml"),
        folder=folder,
        step_timeout_s=attempt["step_timeout_s"],
        may_grow=attempt["may_grow"],
    )
    if outcome.state != "FINISHED":
        raise TrialError(f"{outcome.state}: {outcome.reason}")


def _record_failure_of(error: WorkerGroupError, folder: Path) -> None:
    """See that the trial whose workers were ended has an outcome.

    Raises:
        TrialPaused: One of them lacked disk or memory.
        WorkerGroupError: One of them is gone, and none failed for a reason of the trial's.
    """
    if read_outcome(folder) is not None:
        return
    failures = error.worker_failures
    for failure in failures.values():
        if isinstance(failure, TrialPaused):
            raise failure
    # The first rank records its failures itself.
    reasons = [
        str(failure)
        for rank, failure in sorted(failures.items())
        if rank > 0 and isinstance(failure, TrialError)
    ]
    if not reasons:
        raise error
    record_failure(folder, reasons[0])


def _hangs_again(folder: Path, attempt: Attempt) -> bool:
    """Begin an attempt, or end the trial if two before it hung without a checkpoint between."""
    *_, before, now = [None, *begin_attempt(folder, driver=attempt["driver"], why=attempt["why"])]
    if before is None or (before.why, now.why) != (HUNG, HUNG):
        return False
    if before.step != now.step:
        return False
    record_failure(
        folder,
        f"no sign of life for {attempt['step_timeout_s']:g} s, twice after step {now.step}; "
        f"where it hung is in {HANG_FILE}. Mend it, or raise resources.step_timeout_s.",
    )
    return True


def measure_baseline_of(trial: Path, baselines: Path, step_timeout_s: float | None) -> str:
    """Measure the baseline of the trial in the folder ``trial``; return the baseline's name."""
    _prepare_process()
    from trainables.evaluation.baseline import measure_baseline
    from trainables.precision import trial_dtype

    spec = load_trial(trial / "trial.yaml")
    dtype = trial_dtype(spec, trial)
    return measure_baseline(spec, baselines, dtype=dtype, step_timeout_s=step_timeout_s).name


class ServedModel(NamedTuple):
    """What a vLLM server is started with."""

    name: str
    location: str
    dtype: str


def serve_base_of(trial: Path) -> ServedModel:
    """Write the base of the trial in the folder ``trial`` as its server needs it, if it is new."""
    _prepare_process()
    from trainables.models import resolve_model
    from trainables.precision import trial_dtype
    from trainables.rollouts.served_base import ServedBase, export_base

    spec = load_trial(trial / "trial.yaml")
    source = resolve_model(spec.model, trust_remote_code=spec.trust_remote_code)
    base = ServedBase(source, spec.quantization, trial_dtype(spec, trial))
    return ServedModel(base.name, export_base(base), base.dtype)


def measure_probe_of(trial: Path) -> Probe:
    """Measure what the trial in the folder ``trial`` takes at its worst lengths.

    Give it a whole GPU, or as many cores as the trial will have: its process, a child of this
    one, is not limited to a share.

    Raises:
        BudgetError: The trial needs more memory than this machine has.
        TrialError: It cannot run.
    """
    from trainables.memory.probe import measure_trial

    granted = _granted()
    if granted.gpus > 0:
        require_gpu()
    return measure_trial(load_trial(trial / "trial.yaml"), num_threads=granted.threads)


def describe_gpu() -> Mapping[str, Any] | None:
    """Return the fields of ``packing.Gpu`` of this machine's smallest one, None without any."""
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    gpu = min(gpus, key=lambda gpu: gpu.total_memory, default=None)
    if gpu is None:
        return None
    return {
        "name": str(gpu.name),
        "memory_gib": gpu.total_memory / 2**30,
        "has_bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
    }


class _Granted(NamedTuple):
    """What Ray has set aside for this process."""

    threads: int
    gpus: float


def _granted() -> _Granted:
    resources = ray.get_runtime_context().get_assigned_resources()
    return _Granted(max(1, int(resources.get("CPU", 1))), float(resources.get("GPU", 0)))


def _prepare_process() -> None:
    """Keep this process inside the share of the machine that Ray gave it.

    Ray's fractions are bookkeeping; the caps on threads and GPU memory make them real.

    Raises:
        TrialError: A GPU is part of the share, and torch cannot use it.
    """
    import torch

    from trainables.memory.process import limit_to_share

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    _end_at_once_when_terminated()
    granted = _granted()
    torch.set_num_threads(granted.threads)
    if granted.gpus > 0:
        require_gpu()
    if 0 < granted.gpus < 1 and torch.cuda.is_available():
        limit_to_share(granted.gpus)


def _end_at_once_when_terminated() -> None:
    """Let SIGTERM end this process, and those it starts, as a kill does.

    Ray's handler takes the interpreter apart under the thread that trains, which would record
    what it then meets as the trial's failure. A trial is not in the main thread, which alone may
    call ``signal.signal``. The driver had the signal blocked when it started Ray.
    """
    ctypes.pythonapi.PyOS_setsig(int(signal.SIGTERM), None)  # SIG_DFL
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
