"""The user's functions in a trial of two processes, over gloo on this machine."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from functions_material import MODULE, settings_in, sums, write_rows
from recorded_rank import Rollouts, train, train_in_ranks

from strictune.config import TrialSpec
from strictune.records import read_metrics

STEPS = 3
GROUP = 4
PER_STEP = 12
REWARDS = {"length_reward": 0.5, "accuracy_reward": 2.0, "slow_reward": 0.25}
# Answers of even length are right, and some have no accuracy; the module says how it was called.
COUNTING = (
    MODULE.replace("t == str(a)", "len(t) % 2 == 0").replace("if a is None", "if len(t) % 5 == 4")
    + """

def length_reward(completions, log_metric, **kwargs):
    log_metric("num_called_with", len(completions))
    return [len(text) / 10 for text in texts(completions)]
"""
)


def spec_of(folder: Path, module: str = COUNTING, **changes: Any) -> TrialSpec:
    rows = [{**row, "id": f"sum-{number}"} for number, row in enumerate(sums(60))]
    settings = settings_in(
        folder,
        module,
        train=str(write_rows(folder / "rows.jsonl", rows)),
        rewards=list(REWARDS),
        success="accuracy_reward >= 1",
    )
    grpo = {
        "max_steps": STEPS,
        "num_generations": GROUP,
        "per_device_train_batch_size": 3,
        "max_completion_length": 24,
        "learning_rate": 1e-3,
        "optim": "adamw_torch",
        "gradient_checkpointing": False,
    }
    return TrialSpec.model_validate(
        {
            "task": settings.model_dump(),
            "model": "builtin:tiny",
            "quantization": "none",
            "dtype": "float32",
            "rewards": REWARDS,
            "grpo": grpo | changes.pop("grpo"),
            "checkpoint": {"save_steps": STEPS},
            **changes,
        }
    )


def two_workers(folder: Path, module: str = COUNTING) -> TrialSpec:
    # Of the three groups of a step each worker has one, and half of the one between them.
    workers = {"num_workers": 2, "strategy": "ddp"}
    return spec_of(folder, module, grpo={"gradient_accumulation_steps": 2}, distributed=workers)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rollouts]:
    """What one worker with the accumulation of two leaves, and the completions that it drew."""
    torch.set_num_threads(1)
    folder, rollouts = tmp_path_factory.mktemp("alone"), dict[str, list[list[int]]]()
    spec = spec_of(folder, grpo={"gradient_accumulation_steps": 4})
    train(spec, folder, rollouts=rollouts, is_recording=True)
    return folder, rollouts


def rewards_in(folder: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(part) for part in sorted(folder.glob("rewards/*.parquet")))


@pytest.mark.slow
def test_two_workers_record_each_reward_once_as_one_worker_does(
    alone: tuple[Path, Rollouts], tmp_path: Path
) -> None:
    folder, rollouts = alone
    train_in_ranks(two_workers(tmp_path), tmp_path, rollouts=rollouts)
    rows = rewards_in(tmp_path)
    assert len(rows) == STEPS * PER_STEP
    assert rows["reward/accuracy_reward"].isna().any()
    pd.testing.assert_frame_equal(rows, rewards_in(folder))
    for (step, metrics), (other, expected) in zip(
        read_metrics(tmp_path), read_metrics(folder), strict=True
    ):
        assert step == other
        assert metrics["train/num_called_with"] == PER_STEP / 2
        assert expected["train/num_called_with"] == PER_STEP
        names = {name for name in expected if "reward" in name or name.startswith("train/success")}
        assert {"reward/total/mean", "reward/slow_reward/std", "train/success/pass_at_1"} <= names
        for name in {*names, "train/step_seen"}:
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-7), name


@pytest.mark.slow
def test_an_exception_in_the_second_worker_names_function_and_row(
    alone: tuple[Path, Rollouts], tmp_path: Path
) -> None:
    _, rollouts = alone
    second = "__import__('os').environ['RANK'] == '1'"
    module = COUNTING.replace("return [len(text)", f"return [1 / 0 if {second} else len(text)")
    with pytest.raises(AssertionError) as caught:
        train_in_ranks(two_workers(tmp_path, module), tmp_path, rollouts=rollouts)
    said = str(caught.value)
    assert "TrialError: reward function length_reward of" in said
    assert "raised ZeroDivisionError: division by zero (row sum-" in said
    assert not list(tmp_path.glob("rewards/*.parquet"))
