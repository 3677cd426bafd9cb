"""The search space of a cell: what is drawn, and the way back from settings to parameters."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from study_fakes import search_sweep

from strictune.config import expand, load_sweep, resolve_point
from strictune.errors import SpecError
from strictune.launch.study.space import CellSpace, cell_space

CURRICULUM = {"curriculum": ["three_stage"]}


def space_of(tmp_path: Path, space: dict[str, Any], **blocks: Any) -> CellSpace:
    sweep = search_sweep(tmp_path, {"space": space}, **blocks)
    return cell_space(sweep, expand(sweep)[0])


def drawn(space: CellSpace, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    trial = study.ask()
    return space.suggest(trial), trial.params


@pytest.mark.parametrize(
    "space",
    [
        {"rewards": {"min_weight": 0.02}},
        {"rewards": {"min_weight": 0.05, "may_be_zero": ["format", "repetition"]}},
        {"rewards": {}, "settings": {"lora.r": {"low": 4, "high": 64, "log": True}}},
        {"settings": {"lora.target_modules": {"choices": [["q_proj"], ["q_proj", "v_proj"]]}}},
        {"settings": {"grpo.scale_rewards": {"choices": ["group", "none"]}}},
    ],
)
def test_settings_lead_back_to_the_parameters_that_drew_them(
    tmp_path: Path, space: dict[str, Any]
) -> None:
    cell = space_of(tmp_path, space)
    for number in range(20):
        settings, params = drawn(cell, number)
        # Weights are rounded to four decimals, so a stick comes back about as well.
        assert cell.params(settings) == pytest.approx(params, abs=0.02)
        assert set(cell.distributions(params)) == set(params)


def test_the_cell_itself_lies_in_a_space_of_learning_rates_it_does_not_name(
    tmp_path: Path,
) -> None:
    key = "grpo.learning_rate"
    cell = space_of(tmp_path, {"settings": {key: {"low": 1e-5, "high": 1e-3, "log": True}}})
    assert cell.params({}) == {key: 5e-5}


def test_a_setting_of_the_task_is_drawn_and_acts(tmp_path: Path) -> None:
    key = "task.reward.citation_weight"
    space = {"settings": {key: {"low": 0.1, "high": 1.0}}}
    blocks = {"task": {"kind": "refiner"}, "matrix": {}}
    sweep = search_sweep(tmp_path, {"space": space, "first": [{key: 0.5}]}, **blocks)
    [trial] = expand(sweep)
    cell = cell_space(sweep, trial)
    assert cell.params({}) == {key: 0.2}
    settings, params = drawn(cell, 0)
    assert cell.params(settings) == params
    point = resolve_point(sweep, trial, settings, variant="p000", seed=0)
    assert point.task.reward.citation_weight == params[key]


def test_a_setting_is_drawn_only_where_its_condition_holds(tmp_path: Path) -> None:
    space = {
        "settings": {
            "grpo.multi_objective_aggregation": {
                "choices": ["sum_then_normalize", "normalize_then_sum"]
            },
            "grpo.scale_rewards": {
                "choices": ["batch", "none"],
                "when": {"grpo.multi_objective_aggregation": ["sum_then_normalize"]},
            },
        }
    }
    cell = space_of(tmp_path, space)
    seen = {
        (found["grpo.multi_objective_aggregation"], "grpo.scale_rewards" in found)
        for found, _ in (drawn(cell, number) for number in range(20))
    }
    assert seen == {("sum_then_normalize", True), ("normalize_then_sum", False)}


def test_a_component_may_be_left_out_and_the_rest_share_its_weight(tmp_path: Path) -> None:
    cell = space_of(tmp_path, {"rewards": {"min_weight": 0.02, "may_be_zero": ["format"]}})
    weights = [drawn(cell, number)[0]["rewards_no_think"] for number in range(20)]
    assert any(found["format"] == 0 for found in weights)
    assert any(found["format"] > 0 for found in weights)
    assert all(sum(found.values()) == pytest.approx(1.0) for found in weights)


def test_stages_have_weights_of_their_own(tmp_path: Path) -> None:
    space = {"stage_rewards": {"format_basics": {"min_weight": 0.02}}}
    sweep = search_sweep(tmp_path, {"space": space}, matrix=CURRICULUM)
    cell = expand(sweep)[0]
    settings, params = drawn(cell_space(sweep, cell), 0)
    stages = settings["curricula.three_stage"]
    assert [stage["rewards"] is None for stage in stages] == [False, True, True]
    assert all(name.startswith("stick/format_basics/") for name in params)
    assert cell_space(sweep, cell).params(settings) == pytest.approx(params, abs=0.02)


def test_the_cells_own_weights_are_a_point_of_the_space(tmp_path: Path) -> None:
    cell = space_of(tmp_path, {"rewards": {"min_weight": 0.02}})
    study = optuna.create_study()
    study.enqueue_trial(cell.params({}))
    found: Any = cell.suggest(study.ask())["rewards_no_think"]
    own: Any = cell.cell["rewards_no_think"]
    assert found == pytest.approx({name: own[name] for name in found}, abs=3e-4)


def test_weights_below_the_floor_are_outside(tmp_path: Path) -> None:
    cell = space_of(tmp_path, {"rewards": {"min_weight": 0.1}})
    low = {"format": 0.05, "validity": 0.15, "schema": 0.2, "truncation": 0.2, "repetition": 0.2}
    with pytest.raises(SpecError, match=r"weight format = 0\.05 is below 0\.1"):
        cell.params({"rewards_no_think": low | {"strictness": 0.2}})


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ({"rewards": {"min_weight": 0.3}}, "for each of 6 components is more than 1"),
        ({"rewards": {"may_be_zero": ["schema"]}}, "lets schema have no weight"),
        (
            {"rewards": {"components": ["format", "schema"]}},
            "rewards.components leaves out strictness, which means weight 0",
        ),
        ({"rewards": {"min_weight": 0}}, "rewards.min_weight = 0 lets schema, strictness have no"),
        ({"rewards": {"components": ["format", "schem"]}}, "Did you mean schema?"),
        (
            {"rewards": {"components": ["format", "schema", "format"]}},
            "rewards.components lists format twice; list each value once.",
        ),
        (
            {"settings": {"rewards.schema": {"low": 0.1, "high": 1.0}}},
            "settings.rewards.schema is a reward weight, and these are searched in search.space.r",
        ),
        ({"settings": {"grpo.betta": {"low": 0, "high": 1}}}, "is not a setting of trial or task"),
        ({"settings": {"lora.r": {"choices": [4, 0]}}}, "makes no trial with lora.r = 0"),
        ({"settings": {"seed": {"choices": [1, 2]}}}, "is crossed by the matrix"),
        ({"stage_rewards": {"format_basic": {}}}, "is not a stage of standard with rewards"),
        (
            {
                "settings": {
                    "grpo.scale_rewards": {"choices": ["group", "none"]},
                    "grpo.multi_objective_aggregation": {
                        "choices": ["sum_then_normalize", "normalize_then_sum"]
                    },
                }
            },
            "grpo.scale_rewards = none, grpo.multi_objective_aggregation = normalize_then_sum",
        ),
    ],
)
def test_a_space_with_points_that_make_no_trial_is_refused(
    tmp_path: Path, space: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SpecError) as caught:
        search_sweep(tmp_path, {"space": space})
    assert problem in str(caught.value)


def test_an_objective_that_no_look_measures_is_refused_with_early_stopping(tmp_path: Path) -> None:
    objectives = [{"metric": "reward/total/mean", "mode": "max"}]
    search = {"objectives": objectives, "scheduler": {"kind": "asha"}}
    with pytest.raises(
        SpecError, match=r"objectives\.0\.metric = reward/total/mean is not measured"
    ):
        search_sweep(tmp_path, search)
    search_sweep(tmp_path, {"objectives": objectives})


@pytest.mark.parametrize("metric", ["eval/words/mean", "eval/strictly/pass_at_1"])
def test_an_objective_that_is_no_mean_over_prompts_cannot_be_dominated(
    tmp_path: Path, metric: str
) -> None:
    objectives = [{"metric": metric, "mode": "max"}]
    with pytest.raises(SpecError, match=rf"objectives\.0\.metric = {metric} is no mean over"):
        search_sweep(tmp_path, {"objectives": objectives, "scheduler": {"kind": "dominated"}})
    for known in ("eval/clean/pass_at_1", "eval/think_rate"):
        objectives[0]["metric"] = known
        search_sweep(tmp_path, {"objectives": objectives, "scheduler": {"kind": "dominated"}})


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql://me:secret@127.0.0.1/optuna",
        "postgresql://me:#secret@127.0.0.1/optuna",
        "postgresql://127.0.0.1/optuna?user=me&password=secret",
    ],
)
def test_a_storage_with_a_password_is_refused_without_repeating_it(
    tmp_path: Path, storage: str
) -> None:
    search_sweep(tmp_path, {"storage": "postgresql://me@127.0.0.1/optuna"})
    refused = pytest.raises(SpecError, match=r"search\.storage holds a password")
    with refused as on_command_line:
        load_sweep(tmp_path / "search.yaml", [f"search.storage={storage}"])
    with refused as in_file:
        search_sweep(tmp_path, {"storage": storage})
    assert "secret" not in f"{on_command_line.value} {in_file.value}"
