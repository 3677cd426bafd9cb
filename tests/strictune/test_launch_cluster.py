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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(None, "expandable_segments:True", id="nothing-set"),
        pytest.param(
            "max_split_size_mb:64", "max_split_size_mb:64,expandable_segments:True", id="extended"
        ),
        pytest.param("expandable_segments:False", None, id="left-to-the-user"),
    ],
)
def test_workers_start_with_an_allocator_whose_segments_grow(
    monkeypatch: pytest.MonkeyPatch,
    started: list[dict[str, Any]],
    given: str | None,
    expected: str | None,
) -> None:
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    if given is not None:
        monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", given)
    with cluster.ray_cluster():
        pass
    variables = started[0]["runtime_env"]["env_vars"]
    assert variables.get("PYTORCH_CUDA_ALLOC_CONF") == expected
    assert variables["TOKENIZERS_PARALLELISM"] == "false"


def test_a_cluster_of_this_machine_has_the_cores_that_the_plan_counts(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    with cluster.ray_cluster():
        pass
    assert started[0]["num_cpus"] == this_machine().cpus == 1


def test_workers_learn_which_commit_a_job_was_submitted_from(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("STRICTUNE_GIT_SHA", "abc")
    with cluster.ray_cluster():
        pass
    assert started[0]["runtime_env"]["env_vars"]["STRICTUNE_GIT_SHA"] == "abc"
