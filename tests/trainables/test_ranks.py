"""Two processes that train one trial, over gloo on this machine."""

import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from recorded_rank import Rollouts, Seen, train, train_in_ranks

from strictune.config import TrialSpec

STEPS = 3
GROUP = 4
PER_STEP = 12


def trial(**changes: Any) -> TrialSpec:
    grpo = {
        "max_steps": STEPS,
        "num_generations": GROUP,
        "per_device_train_batch_size": 3,
        "max_completion_length": 48,
        "learning_rate": 1e-2,
        "optim": "adamw_torch",
        "beta": 0.05,
        "gradient_checkpointing": False,
    }
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
        "model": "builtin:tiny",
        "quantization": "none",
        "dtype": "float32",
        "grpo": grpo | changes.pop("grpo"),
        "checkpoint": {"save_steps": STEPS},
    }
    return TrialSpec.model_validate(fields | changes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Seen, Path, Path]:
    """One worker with twice the accumulation, recorded, and two workers on its completions."""
    torch.set_num_threads(1)
    alone, together = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    rollouts: Rollouts = {}
    one = train(
        trial(grpo={"gradient_accumulation_steps": 4}),
        alone,
        rollouts=rollouts,
        is_recording=True,
    )
    # Of the three groups of a step each worker has one, and half of the one between them.
    spec = trial(grpo={"gradient_accumulation_steps": 2}, distributed={"num_workers": 2})
    two = train_in_ranks(spec, together, rollouts=rollouts, port=free_port())
    return one, two, alone, together


def test_two_workers_learn_what_one_learns_with_twice_the_accumulation(
    runs: tuple[Seen, Seen, Path, Path],
) -> None:
    one, two, *_ = runs
    assert len(one.losses) == len(two.losses) == len(two.gradients) == STEPS
    assert all(abs(loss) > 1e-3 for loss in one.losses)
    assert two.losses == pytest.approx(one.losses, rel=1e-4)
    for ours, theirs in zip(two.gradients, one.gradients, strict=True):
        assert theirs.norm() > 0.01
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()


def test_the_first_rank_records_the_completions_of_all_in_whole_groups(
    runs: tuple[Seen, Seen, Path, Path],
) -> None:
    *_, alone, together = runs
    one, two = (
        pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))
        for folder in (alone, together)
    )
    assert len(two) == STEPS * PER_STEP
    pd.testing.assert_frame_equal(two, one)
