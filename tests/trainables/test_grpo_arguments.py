"""What of a trial reaches TRL's ``GRPOConfig``."""

from pathlib import Path

import pytest

from strictune.config import TrialSpec
from trainables.curriculum import plan_stages
from trainables.grpo_arguments import grpo_arguments


def test_the_trainer_gets_the_weights_of_its_stage(tmp_path: Path) -> None:
    own = [{"name": "only", "steps_frac": 1.0, "rewards": {"schema": 0.9, "strictness": 0.1}}]
    spec = TrialSpec.model_validate(
        {
            "task": {"kind": "strict_json"},
            "model": "builtin:tiny",
            "grpo": {"max_steps": 4},
            "quantization": "none",
            "dtype": "float32",
            "curricula": {"own": own},
            "curriculum": "own",
        }
    )
    [stage] = plan_stages(spec)
    arguments = grpo_arguments(
        spec, stage, dtype="float32", components=spec.task.components, folder=tmp_path, rollouts={}
    )
    weights = dict(zip(spec.task.components, arguments.reward_weights, strict=True))
    assert {name: weight for name, weight in weights.items() if weight} == {
        "schema": pytest.approx(0.9),
        "strictness": pytest.approx(0.1),
    }
