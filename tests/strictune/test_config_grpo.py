import json
import subprocess
import sys
from typing import get_args

import pytest
from pydantic import ValidationError

from strictune.config import GrpoSpec, TrialSpec
from strictune.config.training import Optimizer, Scheduler

OURS = {
    "max_steps",
    "max_think_length",
    "logging_steps",
    "learning_rate",
    "kl_reference",
    "flat_groups",
}
"""Fields whose default, or existence, is ours and not TRL's."""

ASK_TRL = """
import dataclasses, json
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames
from trl import GRPOConfig
defaults = {f.name: f.default for f in dataclasses.fields(GRPOConfig)}
print(json.dumps({
    "defaults": {k: v for k, v in defaults.items() if isinstance(v, (str, int, float, type(None)))},
    "optimizers": [o.value for o in OptimizerNames],
    "schedulers": [s.value for s in SchedulerType],
}))
"""


@pytest.fixture(scope="module")
def trl() -> dict[str, object]:
    command = [sys.executable, "-W", "ignore", "-c", ASK_TRL]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_fields_and_defaults_are_those_of_trl(trl: dict[str, dict[str, object]]) -> None:
    ours = {name: field.default for name, field in GrpoSpec.model_fields.items()}
    assert {k: v for k, v in ours.items() if k not in OURS} == {
        k: trl["defaults"].get(k, "not a field of GRPOConfig") for k in ours if k not in OURS
    }


def test_optimizers_and_schedulers_exist_in_transformers(trl: dict[str, list[str]]) -> None:
    assert set(get_args(Optimizer)) <= set(trl["optimizers"])
    assert set(get_args(Scheduler)) <= set(trl["schedulers"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"num_generations": 1}, "greater than or equal to 2", id="group-of-one"),
        pytest.param(
            {"lr_scheduler_type": "constant", "warmup_steps": 0.1},
            "constant_with_warmup",
            id="warm-up-of-a-constant",
        ),
        pytest.param(
            {"multi_objective_aggregation": "dvao", "scale_rewards": "batch"},
            "scale_rewards = batch has no effect",
            id="scale-of-dvao",
        ),
        pytest.param(
            {"multi_objective_aggregation": "normalize_then_sum", "scale_rewards": "none"},
            "scale_rewards = none has no effect",
            id="ignored-scale",
        ),
        pytest.param(
            {"flat_groups": "drop", "entropy_coef": 0.01},
            "entropy_coef = 0.01 cannot be had with flat_groups = drop",
            id="bonus-of-dropped-groups",
        ),
        pytest.param({"learning_rate": float("nan")}, "finite", id="nan"),
        pytest.param({"temperature": 0}, "greater than 0", id="greedy-training"),
        pytest.param({"num_generatons": 8}, "Extra inputs", id="unknown-key"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GrpoSpec.model_validate({"max_steps": 10} | fields)


def test_a_step_counts_completions() -> None:
    spec = GrpoSpec(max_steps=1, per_device_train_batch_size=4, gradient_accumulation_steps=6)
    assert spec.completions_per_step == 24


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("package:smollm2-135m", 2e-4),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", 2e-4),
        ("Qwen/Qwen2.5-0.5B-Instruct", 5e-5),
        ("/models/7b/Llama-3.2-1B", 5e-5),
        ("Qwen/Qwen3-4B-Instruct-2507", 1e-5),
        ("Qwen/Qwen3-30B-A3B", 1e-5),
        ("builtin:tiny", 5e-5),
    ],
)
def test_a_learning_rate_that_is_not_named_follows_the_size_of_the_model(
    model: str, rate: float
) -> None:
    given = {"model": model, "task": {"kind": "strict_json"}}
    trial = TrialSpec.model_validate(given | {"grpo": {"max_steps": 4}})
    assert trial.grpo.learning_rate == rate
    named = given | {"grpo": {"max_steps": 4, "learning_rate": rate}}
    assert TrialSpec.model_validate(named).trial_id == trial.trial_id
