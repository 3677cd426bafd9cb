"""What Ray's workers are started with, without starting any."""

import os
import signal
from typing import Any

import pytest
import ray

from strictune.hardware import this_machine
from strictune.launch import cluster


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options that Ray is started with, in place of a Ray."""
    options: list[dict[str, Any]] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **given: options.append(given))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return options


def test_workers_start_with_the_settings_that_torch_and_its_tokenizers_need(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    monkeypatch.setenv("STRICTUNE_GIT_SHA", "abc")
    with cluster.ray_cluster():
        pass
    variables = started[0]["runtime_env"]["env_vars"]
    expected = "max_split_size_mb:64,expandable_segments:True"
    assert variables["PYTORCH_CUDA_ALLOC_CONF"] == expected
    assert variables["TOKENIZERS_PARALLELISM"] == "false"
    assert variables["STRICTUNE_GIT_SHA"] == "abc", "the commit that a job was submitted from"


def test_a_cluster_of_this_machine_has_the_cores_that_the_plan_counts(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    with cluster.ray_cluster():
        pass
    assert started[0]["num_cpus"] == this_machine().cpus == 1
