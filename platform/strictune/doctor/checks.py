"""The checks of ``strictune doctor``, in the order of their table."""

from collections.abc import Sequence

from strictune.doctor.examination import Check
from strictune.doctor.findings import Finding, Place
from strictune.doctor.hub import check_hub
from strictune.doctor.machine import (
    check_caches,
    check_cores,
    check_disk,
    check_memory,
    check_open_files,
    check_scratch,
)
from strictune.doctor.processes import try_in_process
from strictune.doctor.software import check_packages, check_python

__all__ = ["CHECKS"]

MODEL_TRIES = (
    "gpu",
    "precision",
    "triton",
    "attention",
    "nf4",
    "transformers",
    "continuous batching",
    "vllm",
    "deepspeed",
    "chat templates",
)
PROCESS_LIMIT_S = 180.0
"""Generous: importing torch and starting Ray take half a minute on two busy cores."""
CHECK_LIMIT_S = PROCESS_LIMIT_S + 15


def _try_model(place: Place) -> Sequence[Finding]:
    return try_in_process("strictune.doctor.try_model", names=MODEL_TRIES, limit_s=PROCESS_LIMIT_S)


def _try_ray(place: Place) -> Sequence[Finding]:
    return try_in_process("strictune.launch.try_ray", names=("ray",), limit_s=PROCESS_LIMIT_S)


def _try_mlflow(place: Place) -> Sequence[Finding]:
    return try_in_process(
        "strictune.doctor.try_mlflow", str(place.out), names=("mlflow",), limit_s=PROCESS_LIMIT_S
    )


CHECKS = (
    Check("python", check_python),
    Check("packages", check_packages),
    Check("cores", check_cores),
    Check("memory", check_memory),
    Check("open files", check_open_files),
    Check("results", check_disk),
    Check("scratch", check_scratch),
    Check("caches", check_caches),
    Check("model hub", check_hub, late="warning"),
    Check("models", _try_model, limit_s=CHECK_LIMIT_S),
    Check("ray", _try_ray, limit_s=CHECK_LIMIT_S),
    Check("mlflow", _try_mlflow, limit_s=CHECK_LIMIT_S),
)
