"""What of a trial reaches TRL's ``GRPOConfig``."""

import functools
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments
from trl import SFTConfig

from strictune.config import TrialSpec
from trainables.curriculum import plan_stages
from trainables.trainer_arguments import grpo_arguments, on_one_gpu


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As transformers sees four GPUs from a process that nobody started as a rank."""

    own = TrainingArguments._setup_devices.func

    def set_up(self: TrainingArguments) -> torch.device:
        device: torch.device = own(self)
        self._n_gpu = 4
        return device

    device = functools.cached_property(set_up)
    device.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", device)


@pytest.mark.usefixtures("four_gpus")
def test_a_trainer_takes_one_of_several_gpus(tmp_path: Path) -> None:
    spec = TrialSpec.model_validate(
        {"task": {"kind": "strict_json"}, "model": "builtin:tiny", "grpo": {"max_steps": 4}}
    )
    [stage] = plan_stages(spec)
    arguments = grpo_arguments(
        spec, stage, dtype="float32", components=spec.task.components, folder=tmp_path, rollouts={}
    )
    supervised = on_one_gpu(SFTConfig(output_dir=str(tmp_path), bf16=False))
    for trained in (arguments, supervised):
        assert trained.n_gpu == 1
        assert trained.train_batch_size == trained.per_device_train_batch_size


def test_without_a_gpu_a_trainer_takes_none(tmp_path: Path) -> None:
    assert on_one_gpu(SFTConfig(output_dir=str(tmp_path), use_cpu=True)).n_gpu == 0


def test_what_is_set_for_the_loss_reaches_the_trainer_and_names_the_trial(tmp_path: Path) -> None:
    def trial(**grpo: object) -> TrialSpec:
        return TrialSpec.model_validate(
            {
                "task": {"kind": "strict_json"},
                "model": "builtin:tiny",
                "dtype": "float32",
                "grpo": {"max_steps": 4, **grpo},
            }
        )

    given = {
        "epsilon_high": 0.28,
        "importance_sampling_level": "sequence",
        "entropy_coef": 0.01,
        "steps_per_generation": 3,
    }
    spec = trial(**given)
    [stage] = plan_stages(spec)
    arguments = grpo_arguments(
        spec, stage, dtype="float32", components=spec.task.components, folder=tmp_path, rollouts={}
    )
    assert {name: getattr(arguments, name) for name in given} == given
    named = {trial().trial_id, *(trial(**{name: value}).trial_id for name, value in given.items())}
    assert len(named) == 1 + len(given)


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
