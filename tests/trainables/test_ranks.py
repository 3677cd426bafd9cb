"""Two processes that train one trial, over gloo on this machine."""

import json
from pathlib import Path
from typing import Any, NamedTuple

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
        "learning_rate": 1e-3,
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


class Alone(NamedTuple):
    """One worker with the accumulation of two, on what it generated itself."""

    seen: Seen
    rollouts: Rollouts
    folder: Path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    torch.set_num_threads(1)
    rollouts: Rollouts = {}
    folder = tmp_path_factory.mktemp("alone")
    spec = trial(grpo={"gradient_accumulation_steps": 4})
    seen = train(spec, folder, rollouts=rollouts, is_recording=True)
    assert len(seen.losses) == len(seen.gradients) == STEPS
    assert all(abs(loss) > 1e-3 for loss in seen.losses)
    return Alone(seen, rollouts, folder)


def train_two(alone: Alone, folder: Path, strategy: str) -> Seen:
    # Of the three groups of a step each worker has one, and half of the one between them.
    workers = {"num_workers": 2, "strategy": strategy}
    spec = trial(grpo={"gradient_accumulation_steps": 2}, distributed=workers)
    return train_in_ranks(spec, folder, rollouts=alone.rollouts)


def check_gradients(ours: Seen, theirs: Seen) -> None:
    for one, other in zip(ours.gradients, theirs.gradients, strict=True):
        assert (one - other).norm() < 1e-4 * other.norm()


def reward_rows(folder: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))


def test_two_workers_learn_and_record_what_one_does_with_twice_the_accumulation(
    alone: Alone, tmp_path: Path
) -> None:
    two = train_two(alone, tmp_path, "ddp")
    assert two.losses == pytest.approx(alone.seen.losses, rel=1e-4)
    check_gradients(two, alone.seen)
    rows = reward_rows(tmp_path)
    assert len(rows) == STEPS * PER_STEP
    pd.testing.assert_frame_equal(rows, reward_rows(alone.folder))


@pytest.mark.slow
def test_two_workers_draw_from_their_pools_what_one_does(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    one, two = (
        trial(
            curriculum="adaptive",
            grpo={"gradient_accumulation_steps": 4 // count},
            distributed={"num_workers": count},
        )
        for count in (1, 2)
    )
    rollouts: Rollouts = {}
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    train(one, alone, rollouts=rollouts, is_recording=True)
    train_in_ranks(two, together, rollouts=rollouts)
    rows = reward_rows(alone)
    assert rows["criterion/strict"].nunique() == 2
    assert rows["prompt_id"].nunique() == STEPS * PER_STEP / GROUP
    pd.testing.assert_frame_equal(reward_rows(together), rows)


@pytest.mark.slow
def test_two_workers_learn_from_golds_what_one_does(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    batch = {"per_device_train_batch_size": 3, "optim": "adamw_torch"}
    one, two = (
        trial(
            method="sft",
            grpo={"gradient_accumulation_steps": 4 // count},
            sft={**batch, "gradient_accumulation_steps": 4 // count, "match": "completions"},
            distributed={"num_workers": count},
        )
        for count in (1, 2)
    )
    assert one.stage_steps == two.stage_steps == (STEPS,)
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    seen = train(one, alone, rollouts={})
    found = train_in_ranks(two, together, rollouts={})
    assert found.losses == pytest.approx(seen.losses, rel=1e-4)
    check_gradients(found, seen)
    tokens = [json.loads((folder / "progress.json").read_text()) for folder in (alone, together)]
    assert tokens[0]["completion_tokens"] == tokens[1]["completion_tokens"] > 0


@pytest.mark.slow
def test_shards_of_pytorch_change_no_number(alone: Alone, tmp_path: Path) -> None:
    two = train_two(alone, tmp_path, "fsdp")
    assert two.losses == pytest.approx(alone.seen.losses, rel=1e-4)
    check_gradients(two, alone.seen)


@pytest.mark.slow
def test_shards_of_deepspeed_change_no_loss(alone: Alone, tmp_path: Path) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    two = train_two(alone, tmp_path, "zero3")
    assert two.losses == pytest.approx(alone.seen.losses, rel=1e-4)
