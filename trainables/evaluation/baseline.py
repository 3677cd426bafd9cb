"""The untrained model's result, measured once for each baseline key and shared.

Results live in the user's cache directory and are copied into every sweep that needs them. A
cached result is used again only with the same key, number of samples, seed, kind of device and
versions of the libraries that generate.
"""

import hashlib
import logging
import shutil
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from strictune.cache import writable_cache_folder
from strictune.config import ComputeDtype, SamplingSpec, TrialSpec, dump_yaml
from strictune.records import read_outcome
from trainables.evaluation.keys import measurement_keys
from trainables.evaluation.measurement import Measurement, baseline_measurement
from trainables.evaluation.recording import record_measurement
from trainables.models import training_device
from trainables.pulse import Pulse
from trainables.rollouts.served_base import ServedBase
from trainables.rollouts.vllm_server import VllmServer

__all__ = ["circumstances", "measure_baseline"]

logger = logging.getLogger(__name__)


def measure_baseline(
    spec: TrialSpec, baselines: Path, *, dtype: ComputeDtype, step_timeout_s: float | None = None
) -> Path:
    """Measure the baseline of a trial's cell, or take it from the cache; return its folder.

    Two processes that need the same baseline measure it once: the second waits. The process ends
    itself when an evaluated batch takes longer than ``step_timeout_s``; where it hung is then in
    ``baselines/hangs.txt``.
    """
    measurement = baseline_measurement(spec, dtype=dtype)
    keys = measurement_keys(measurement)
    about = circumstances(spec.evaluation, *_server_version(measurement))
    cached = writable_cache_folder("baselines") / f"{keys.baseline_digest}-{about}"
    with FileLock(cached.with_suffix(".lock")):
        ended = read_outcome(cached)
        if ended is None or ended.state != "FINISHED":
            shutil.rmtree(cached, ignore_errors=True)
            cached.mkdir()
            (cached / "trial.yaml").write_text(dump_yaml(spec), encoding="utf-8")
            baselines.mkdir(parents=True, exist_ok=True)
            with Pulse(baselines, timeout_s=step_timeout_s) as pulse:
                result = record_measurement(
                    measurement, keys, cached, facts={}, on_progress=lambda *_: pulse.beat()
                )
            logger.info("baseline=%s measured in %.0f s", keys.baseline_digest, result.seconds)
    target = baselines / keys.baseline_digest
    shutil.copytree(cached, target, dirs_exist_ok=True)
    return target


def _server_version(measured: Measurement) -> list[str]:
    """Return which vLLM measures, if one does.

    Raises:
        TrialError: It cannot.
    """
    if measured.engine != "vllm":
        return []
    base = ServedBase(measured.model, measured.quantization, measured.dtype)
    server = VllmServer(measured.rollouts.vllm_options, model=base.name)
    version = server.check(num_tokens=measured.num_tokens, location=base.location)
    return [f"vllm={version}"]


def circumstances(sampling: SamplingSpec, *others: str) -> str:
    """Return what a measurement depends on beside its keys."""
    versions = [f"{name}={version(name)}" for name in ("torch", "transformers", "bitsandbytes")]
    parts = [*versions, *others, training_device(), f"seed={sampling.seed}"]
    digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]
    return f"n{sampling.samples_per_prompt}-{digest}"
