"""Stages with a method of their own: what they train on, what names them, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from strictune.config import TrialSpec, expand, load_sweep
from strictune.errors import SpecError
from strictune.planning import plan_document
from trainables.memory.measured import trained_difficulties

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
GOLD: dict[str, Any] = {"name": "gold", "steps_frac": 0.25, "method": "sft"}
REWARDS: dict[str, Any] = {"name": "rewards", "steps_frac": 0.75}


def trial(*stages: dict[str, Any], **changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json"},
        "model": "builtin:tiny",
        "grpo": {"max_steps": 20, "learning_rate": 1e-4},
        "sft": {"learning_rate": 1e-3, "per_device_train_batch_size": 16},
        "curriculum": "own",
        "curricula": {"own": stages or (GOLD, REWARDS)},
    }
    return TrialSpec.model_validate(fields | changes)


def test_a_stage_of_sft_has_as_many_completions_as_grpo_would() -> None:
    spec = trial()
    # 5 steps of GRPO are 40 completions, in batches of 16; 15 steps are left for rewards.
    assert spec.sft_stages[0].num_completions == 40
    assert spec.stage_steps == (3, 15)
    assert spec.methods == ("sft", "grpo")
    assert spec.method_steps == {"sft": 3, "grpo": 15}
    assert trial({**REWARDS, "steps_frac": 1.0}).stage_steps == (20,)


def test_a_stage_is_optimized_by_its_methods_block_and_its_own_learning_rate() -> None:
    spec = trial(GOLD, {**REWARDS, "learning_rate": 5e-6})
    gold, rewards = map(spec.stage_optimization, spec.stages)
    assert gold == spec.sft
    assert (rewards.learning_rate, rewards.completions_per_step) == (5e-6, 8)
    assert spec.grpo.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("stages", "changes", "is_same"),
    [
        pytest.param([GOLD, {**REWARDS, "method": "grpo"}], {}, True, id="said-aloud"),
        pytest.param([GOLD, {**REWARDS, "learning_rate": 1e-5}], {}, False, id="learning-rate"),
        pytest.param([{**GOLD, "learning_rate": 1e-5}, REWARDS], {}, False, id="sft-rate"),
        pytest.param([{**GOLD, "method": "grpo"}, REWARDS], {}, False, id="method"),
        pytest.param([GOLD, REWARDS], {"sft": {"learning_rate": 1e-5}}, False, id="sft-block"),
        pytest.param([GOLD, REWARDS], {"rewards_no_think": None}, True, id="nothing"),
    ],
)
def test_what_acts_on_a_stage_names_the_trial(
    stages: list[dict[str, Any]], changes: dict[str, Any], is_same: bool
) -> None:
    assert (trial(*stages, **changes).fingerprint == trial().fingerprint) is is_same


def test_a_warm_start_may_go_on_adaptively() -> None:
    spec = trial(GOLD, {**REWARDS, "mix": "adaptive"})
    assert [stage.is_adaptive for stage in spec.stages] == [False, True]
    assert spec.fingerprint != trial().fingerprint
    assert trained_difficulties(spec) == trained_difficulties(trial())


def test_the_reference_names_trials_where_it_is_not_the_base() -> None:
    spec, base, start = (
        trial(grpo={"max_steps": 20, "beta": 0.1} | given)
        for given in ({}, {"kl_reference": "base"}, {"kl_reference": "stage_start"})
    )
    assert spec.fingerprint == base.fingerprint != start.fingerprint


@pytest.mark.parametrize(
    ("stages", "method", "message"),
    [
        pytest.param(
            [{**GOLD, "temperature": 0.5}, REWARDS],
            "grpo",
            "curricula.own.0.temperature has no effect in a stage of method sft",
            id="temperature",
        ),
        pytest.param(
            [{**GOLD, "rewards": {"schema": 1}}, REWARDS],
            "grpo",
            "curricula.own.0.rewards has no effect in a stage of method sft",
            id="rewards",
        ),
        pytest.param(
            [{**GOLD, "steps_frac": 1.0}],
            "grpo",
            "curricula.own has method = sft in every stage. Set the trial's method to sft instead.",
            id="sft-alone",
        ),
        pytest.param(
            [GOLD, {**REWARDS, "method": "grpo"}],
            "sft",
            "curricula.own.1.method = grpo, but the trial's method is sft",
            id="grpo-under-sft",
        ),
        pytest.param(
            [{**GOLD, "mix": "adaptive"}, REWARDS],
            "grpo",
            "curricula.own.0.mix = adaptive in a stage of method sft, which answers nothing",
            id="adaptive-golds",
        ),
        pytest.param(
            [{**REWARDS, "steps_frac": 1.0, "mix": "adaptive"}],
            "sft",
            "curricula.own.0.mix = adaptive in a stage of method sft, which answers nothing",
            id="adaptive-under-sft",
        ),
    ],
)
def test_what_a_stage_cannot_be_is_refused(
    stages: list[dict[str, Any]], method: str, message: str
) -> None:
    with pytest.raises(ValueError, match="own") as caught:
        trial(*stages, method=method)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        pytest.param(
            "adaptve", "= adaptve, expected a mapping of keys to values, or adaptive", id="word"
        ),
        pytest.param("{hard: -1}", ".hard = -1, expected a number of 0 or more.", id="weight"),
    ],
)
def test_a_mix_is_weights_or_a_word(mix: str, message: str) -> None:
    own = f"trial.curricula.own=[{{name: a, steps_frac: 1, mix: {mix}}}]"
    with pytest.raises(SpecError) as caught:
        load_sweep(SPACES / "warm_start.yaml", [own])
    [line] = str(caught.value).splitlines()
    assert f"trial.curricula.own.0.mix{' ' * (mix[0] != '{')}{message}" in line


def test_a_warm_start_without_gold_is_refused_before_anything_starts() -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(SPACES / "refiner.yaml", ["trial.curriculum=warm_start"])
    assert "curricula.warm_start.0.method = sft, but task refiner knows no gold completions" in str(
        caught.value
    )


def test_the_shipped_warm_start_is_the_tasks_own_and_plain_with_sft() -> None:
    written = expand(load_sweep(SPACES / "warm_start.yaml"))
    shipped = expand(load_sweep(SPACES / "warm_start.yaml", ["trial.curricula={}"]))
    assert [spec.trial_id for spec in written] == [spec.trial_id for spec in shipped]
    supervised = trial(curriculum="warm_start", curricula={}, method="sft")
    assert supervised.methods == ("sft",)


def test_the_plan_says_what_trains_each_stage() -> None:
    sweep = load_sweep(SPACES / "warm_start.yaml")
    standard, warm = plan_document(sweep, expand(sweep))["cells"]
    assert [stage["method"] for stage in standard["stages"]] == ["grpo"]
    assert [(s["name"], s["method"], bool(s["weights"])) for s in warm["stages"]] == [
        ("gold", "sft", False),
        ("rewards", "grpo", True),
    ]
    assert warm["method"] == "grpo"


def test_a_part_is_the_trial_as_one_method_trains_it() -> None:
    supervised, learned = trial().parts
    assert (supervised.methods, learned.methods) == (("sft",), ("grpo",))
    assert [len(part.stages) for part in (supervised, learned)] == [2, 2]
    whole = trial(method="sft", curriculum="standard")
    assert whole.parts == (whole,)


def test_no_search_weighs_the_rewards_of_a_stage_without_any() -> None:
    search = "{space: {stage_rewards: {gold: {min_weight: 0.02}}}, num_trials: 2}"
    overrides = [f"search={search}", "matrix.curriculum=[warm_start]", "contrasts=[]"]
    with pytest.raises(SpecError) as caught:
        load_sweep(SPACES / "warm_start.yaml", [*overrides, "matrix.seed=[0]"])
    assert "gold is not a stage of warm_start with rewards, expected some of rewards" in str(
        caught.value
    )
