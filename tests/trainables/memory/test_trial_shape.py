from pathlib import Path
from typing import Any

import pytest

from strictune.config import GrpoSpec, TrialSpec
from trainables.memory.measured import SHAPING_FIELDS, shape_digest, shape_of, trained_difficulties

WITHOUT_SHAPE = {
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "loss_type",
    "scale_rewards",
    "epsilon",
    "epsilon_high",
    "importance_sampling_level",
    "temperature",
    "use_bias_correction_kl",
    "multi_objective_aggregation",
    "mask_truncated_completions",
    "logging_steps",
}
SHAPE_OTHERWISE = {
    "beta",
    "flat_groups",
    "kl_reference",
    "entropy_coef",
    "top_p",
    "steps_per_generation",
    "max_completion_length",
    "max_think_length",
}


def trial(**changes: Any) -> TrialSpec:
    base: dict[str, Any] = {
        "model": "builtin:tiny",
        "task": {"kind": "strict_json"},
        "grpo": {"max_steps": 10} | changes.pop("grpo", {}),
    }
    return TrialSpec.model_validate(base | changes)


def test_every_field_of_the_training_is_known_to_shape_a_step_or_not() -> None:
    assert {*SHAPING_FIELDS, *WITHOUT_SHAPE, *SHAPE_OTHERWISE} == set(GrpoSpec.model_fields)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seed": 3}, id="seed"),
        pytest.param({"grpo": {"learning_rate": 1e-3, "max_steps": 99}}, id="rates"),
        pytest.param({"rewards_no_think": {"strictness": 2}, "allow_ties": True}, id="weights"),
        pytest.param({"lora": {"lora_alpha": 8}}, id="scale"),
        pytest.param({"grpo": {"flat_groups": "drop"}}, id="dropped-groups"),
        pytest.param({"grpo": {"max_think_length": 64}}, id="lengths-of-other-cells"),
        pytest.param({"curriculum": "three_stage"}, id="curriculum-of-the-same-difficulties"),
    ],
)
def test_what_costs_the_same_has_the_same_shape(changes: dict[str, Any]) -> None:
    assert shape_digest(trial(**changes)) == shape_digest(trial())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"model": "package:smollm2-135m"}, id="model"),
        pytest.param({"thinking": True}, id="thinking"),
        pytest.param({"quantization": "none"}, id="quantization"),
        pytest.param({"dtype": "float32"}, id="dtype"),
        pytest.param({"attn_implementation": "sdpa"}, id="attention"),
        pytest.param({"lora": {"r": 8}}, id="rank"),
        pytest.param({"grpo": {"per_device_train_batch_size": 16}}, id="batch"),
        pytest.param({"grpo": {"steps_per_generation": 2}}, id="generation"),
        pytest.param({"grpo": {"max_completion_length": 64}}, id="lengths"),
        pytest.param({"grpo": {"optim": "adafactor"}}, id="optimizer"),
        pytest.param({"grpo": {"beta": 0.1}}, id="reference"),
        pytest.param({"curriculum": "warm_start"}, id="methods"),
        pytest.param({"grpo": {"flat_groups": "resample"}}, id="further-prompts"),
        pytest.param({"grpo": {"gradient_checkpointing": False}}, id="checkpointing"),
        pytest.param({"evaluation": {"batch_size": 8}}, id="evaluation-batch"),
        pytest.param({"task": {"kind": "strict_json", "data_seed": 1}}, id="prompts"),
    ],
)
def test_what_costs_otherwise_has_another_shape(changes: dict[str, Any]) -> None:
    assert shape_digest(trial(**changes)) != shape_digest(trial())


def test_options_that_are_not_given_leave_old_shapes_as_they_are() -> None:
    shape = shape_of(trial())
    assert shape["rollouts"] == {"engine": "transformers", "weights": "merged", "vllm": None}
    assert not {"batches_per_generation", "steps_per_generation"} & {*shape, *shape["grpo"]}
    given = {"engine": "continuous_batching", "continuous_batching": {"use_cuda_graph": True}}
    assert shape_of(trial(rollouts=given))["rollouts"]["continuous_batching"] is not None


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        pytest.param({"sft": {"learning_rate": 1e-3, "match": "prompts"}}, True, id="rates"),
        pytest.param({"grpo": {"num_generations": 4, "beta": 0.1}}, True, id="sampling"),
        pytest.param({"sft": {"per_device_train_batch_size": 16}}, False, id="batch"),
        pytest.param({"sft": {"optim": "adafactor"}}, False, id="optimizer"),
        pytest.param({"grpo": {"max_completion_length": 64}}, False, id="where-golds-are-cut"),
        pytest.param({"method": "grpo"}, False, id="method"),
    ],
)
def test_a_supervised_step_has_a_shape_of_its_own(changes: dict[str, Any], is_same: bool) -> None:
    found = trial(**{"method": "sft"} | changes)
    assert (shape_digest(found) == shape_digest(trial(method="sft"))) is is_same


def test_a_model_folder_with_another_architecture_is_another_shape(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"hidden_size": 1}')
    before = shape_of(trial(model=str(tmp_path)))
    config.write_text('{"hidden_size": 2}')
    assert shape_of(trial(model=str(tmp_path))) != before


def test_difficulties_that_no_stage_deals_are_left_out() -> None:
    stages = [
        {"name": "a", "steps_frac": 0.5, "mix": {"simple": 1, "hard": 0}},
        {"name": "b", "steps_frac": 0.5, "mix": {"medium": 1}},
    ]
    mixed = trial(curriculum="mine", curricula={"mine": stages})
    assert trained_difficulties(mixed) == ("medium", "simple")
    assert trained_difficulties(trial()) == ("hard", "medium", "simple")


def test_costs_that_were_measured_before_attention_could_be_chosen_are_found() -> None:
    assert "attn_implementation" not in shape_of(trial())


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        pytest.param({"sft": {"learning_rate": 1e-3}, "grpo": {"max_steps": 99}}, True, id="rates"),
        pytest.param({"grpo": {"kl_reference": "stage_start"}}, True, id="no-kl"),
        pytest.param({"sft": {"per_device_train_batch_size": 16}}, False, id="sft-batch"),
        pytest.param({"grpo": {"per_device_train_batch_size": 16}}, False, id="grpo-batch"),
        pytest.param({"grpo": {"beta": 0.1}}, False, id="reference"),
        pytest.param({"method": "sft"}, False, id="method"),
    ],
)
def test_a_warm_start_has_the_shape_of_both_methods(changes: dict[str, Any], is_same: bool) -> None:
    warm = {"curriculum": "warm_start"}
    assert (shape_digest(trial(**warm | changes)) == shape_digest(trial(**warm))) is is_same


def test_a_reference_of_its_own_has_another_shape_than_the_base() -> None:
    base, own = (
        trial(grpo={"beta": 0.1, "kl_reference": name}) for name in ("base", "stage_start")
    )
    assert shape_digest(base) != shape_digest(own)
