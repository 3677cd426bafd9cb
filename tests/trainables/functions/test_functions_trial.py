"""Whole trials on the user's functions and rows, with the tiny model."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from functions_material import MODULE, settings_in

from strictune.config import TrialSpec
from trainables.trial import train_trial

REWARDS = {"length_reward": 0.5, "accuracy_reward": 2.0, "slow_reward": 0.25}
# The tiny model answers no sum. So that all happens, answers of even length are right, some have no
# accuracy, and the longer a wrong one is the more it earns.
LUCKY = MODULE.replace("t == str(a)", "len(t) % 2 == 0").replace(
    "if a is None", "if len(t) % 5 == 4"
)


def spec_of(folder: Path, module: str) -> TrialSpec:
    settings = settings_in(
        folder, module, rewards=list(REWARDS), success="length_reward >= 0 and accuracy_reward >= 1"
    )
    return TrialSpec.model_validate(
        {
            "model": "builtin:tiny",
            "quantization": "none",
            "dtype": "float32",
            "task": settings.model_dump(),
            "rewards": REWARDS,
            "grpo": {
                "max_steps": 2,
                "num_generations": 8,
                "per_device_train_batch_size": 16,
                "gradient_accumulation_steps": 1,
                "max_completion_length": 24,
                "optim": "adamw_torch",
                "gradient_checkpointing": False,
            },
            "checkpoint": {"save_steps": 1},
            "evaluation": {"samples_per_prompt": 4, "temperature": 1.0, "max_new_tokens": 24},
        }
    )


def metrics_of(folder: Path) -> dict[str, float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found: dict[str, float] = {}
    for line in lines:
        found |= json.loads(line)["metrics"]
    return found


def test_a_trial_trains_and_is_measured_by_the_users_functions(tmp_path: Path) -> None:
    outcome = train_trial(spec_of(tmp_path, LUCKY), folder=tmp_path / "trial")
    assert outcome.state == "FINISHED", outcome.reason
    metrics = metrics_of(tmp_path / "trial")
    assert {f"reward/{name}/mean" for name in REWARDS} <= metrics.keys()
    rates = {f"{when}/success/pass_at_1" for when in ("train", "eval", "final")}
    assert rates | {"final/step_seen"} <= metrics.keys()
    assert 0 < metrics["train/failing_above_passing_frac"] < 1
    # What the function logged in training is TRL's own state.
    assert (metrics["train/step_seen"], metrics["final/step_seen"]) == (1.0, 0.0)
    parts_s = metrics["time/generation_s"], metrics["time/scoring_s"]
    assert min(parts_s) > 0
    assert sum(parts_s) < metrics["time/step_s"]

    parts = sorted((tmp_path / "trial" / "rewards").glob("*.parquet"))
    rows = pd.concat(map(pd.read_parquet, parts))
    values = rows[[f"reward/{name}" for name in REWARDS]]
    assert values["reward/accuracy_reward"].isna().any()
    assert not values[["reward/length_reward", "reward/slow_reward"]].isna().any(axis=None)
    expected = (values * list(REWARDS.values())).sum(axis=1)
    assert rows["total"].to_numpy() == pytest.approx(expected.to_numpy())
    # TRL's means are over what applies, and its rewards are ours.
    for name, column in values.items():
        last = column[rows["step"] == 2]
        assert metrics[f"{name}/mean"] == pytest.approx(last.mean(), rel=1e-5)
    assert metrics["reward/total/mean"] == pytest.approx(rows["total"][rows["step"] == 2].mean())
    unknown: Any = rows[values["reward/accuracy_reward"].isna()]["criterion/success"]
    assert unknown.isna().all() and not math.isnan(metrics["train/success/pass_at_1"])


def test_an_exception_in_a_function_fails_the_trial_with_function_and_row(tmp_path: Path) -> None:
    module = MODULE.replace("return [len(text)", "return [1 / 0 if 'x' else len(text)")
    outcome = train_trial(spec_of(tmp_path, module), folder=tmp_path / "trial")
    assert outcome.state == "FAILED"
    assert "reward function length_reward of" in str(outcome.reason)
    assert "raised ZeroDivisionError: division by zero (row " in str(outcome.reason)
