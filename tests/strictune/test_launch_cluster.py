"""What Ray's workers are started with, without starting any."""

import signal
from typing import Any

import pytest
import ray

from strictune.launch import cluster


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
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str | None
) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    if given is not None:
        monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", given)
    monkeypatch.setattr(ray, "init", lambda **options: started.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with cluster.ray_cluster():
        pass
    variables = started[0]["runtime_env"]["env_vars"]
    assert variables.get("PYTORCH_CUDA_ALLOC_CONF") == expected
    assert variables["TOKENIZERS_PARALLELISM"] == "false"
