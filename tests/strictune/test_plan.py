import json
from pathlib import Path

import pytest

from strictune.config import SweepSpec, expand
from strictune.errors import SpecError
from strictune.planning import (
    golds_sentences,
    low_rate_sentences,
    parse_only,
    plan_document,
    select,
)
from strictune.records import read_plan, write_json


@pytest.fixture
def sweep() -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "name": "small",
            "task": {"kind": "strict_json"},
            "trial": {
                "model": "builtin:tiny",
                "grpo": {"max_steps": 100},
                "rewards": {"schema": 1, "strictness": 1, "reasoning": 2},
            },
            "matrix": {
                "model": ["Qwen/Qwen2.5-0.5B-Instruct", "builtin:tiny"],
                "thinking": [True, False],
                "curriculum": ["three_stage", "standard"],
                "seed": [1, 0],
            },
            "contrasts": ["thinking"],
        }
    )


def test_trials_are_expanded_in_the_order_of_the_file(sweep: SweepSpec) -> None:
    trials = expand(sweep)
    assert len(trials) == 16
    order = [(t.model_name, t.thinking, t.curriculum, t.seed) for t in trials[:9]]
    assert order == [
        ("qwen2.5-0.5b", True, "three_stage", 1),
        ("qwen2.5-0.5b", True, "three_stage", 0),
        ("qwen2.5-0.5b", True, "standard", 1),
        ("qwen2.5-0.5b", True, "standard", 0),
        ("qwen2.5-0.5b", False, "three_stage", 1),
        ("qwen2.5-0.5b", False, "three_stage", 0),
        ("qwen2.5-0.5b", False, "standard", 1),
        ("qwen2.5-0.5b", False, "standard", 0),
        ("tiny", True, "three_stage", 1),
    ]


def test_a_sweep_without_a_matrix_is_one_trial(sweep: SweepSpec) -> None:
    alone = SweepSpec.model_validate(
        sweep.model_dump(exclude={"matrix", "contrasts"}) | {"name": "alone"}
    )
    [trial] = expand(alone)
    assert (trial.model, trial.thinking, trial.curriculum) == ("builtin:tiny", False, "standard")


def test_expanded_trials_carry_their_own_weights_and_stages(sweep: SweepSpec) -> None:
    think, no_think = expand(sweep)[0], expand(sweep)[4]
    assert list(think.curricula) == ["three_stage"]
    assert think.rewards == think.weights
    assert no_think.rewards_no_think == no_think.weights
    assert no_think.weights["schema"] == no_think.weights["strictness"] == 2
    assert no_think.weights["reasoning"] == 0


def test_more_models_and_seeds_leave_the_other_trials_their_names(sweep: SweepSpec) -> None:
    before = {trial.trial_id for trial in expand(sweep)}
    matrix = sweep.matrix.model_dump()
    matrix |= {"seed": [1, 0, 2], "model": [*matrix["model"], "google/gemma-2-2b-it"]}
    after = {
        t.trial_id for t in expand(SweepSpec.model_validate({**dict(sweep), "matrix": matrix}))
    }
    assert before < after
    assert len(after) == 3 * 2 * 2 * 3


def test_models_with_one_short_name_keep_their_full_names(sweep: SweepSpec) -> None:
    models = ["Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct", "builtin:tiny"]
    crossed = SweepSpec.model_validate(
        {**dict(sweep), "matrix": {"model": models}, "contrasts": []}
    )
    assert [trial.model_name for trial in expand(crossed)] == [*models[:2], "tiny"]
    assert len({trial.trial_id for trial in expand(crossed)}) == 3


def test_a_cell_that_cannot_be_trained_is_refused(sweep: SweepSpec) -> None:
    matrix = sweep.matrix.model_dump() | {"curriculum": ["standard", "two_stage"]}
    with pytest.raises(SpecError, match=r"sweep small: matrix\.curriculum = two_stage"):
        expand(SweepSpec.model_validate({**dict(sweep), "matrix": matrix}))


def test_the_plan_is_json_and_says_what_will_be_trained(sweep: SweepSpec) -> None:
    plan = json.loads(json.dumps(plan_document(sweep, expand(sweep))))
    assert plan["sweep"] == "small"
    assert plan["task"] == "strict_json"
    assert plan["primary_criterion"] == plan["criteria"][-1] == "strict"
    assert plan["contrasts"] == ["thinking"]
    assert (plan["num_cells"], plan["num_trials"]) == (8, 16)
    cell = plan["cells"][0]
    assert cell["name"] == "qwen2.5-0.5b \u00b7 think \u00b7 three-stage"
    assert cell["seeds"] == [1, 0]
    assert [stage["steps"] for stage in cell["stages"]] == [32, 32, 36]
    assert cell["config"]["grpo"]["max_steps"] == 100
    assert "seed" not in cell["config"]
    trial = plan["trials"][0]
    assert trial["name"] == f"{cell['name']} \u00b7 seed 1"
    assert trial["cell"] == cell["name"]
    assert {"trial_id", "model", "thinking", "curriculum", "seed"} <= trial.keys()


def test_the_plan_holds_the_weights_that_each_stage_trains_with(tmp_path: Path) -> None:
    stages = [
        {"name": "first", "steps_frac": 0.5, "rewards": {"schema": 1, "strictness": 2}},
        {"name": "second", "steps_frac": 0.5},
    ]
    own = {"curriculum": "own", "curricula": {"own": stages}}
    trial = {"model": "builtin:tiny", "grpo": {"max_steps": 4}, **own}
    sweep = SweepSpec.model_validate(
        {"name": "small", "task": {"kind": "strict_json"}, "trial": trial}
    )
    write_json(tmp_path / "plan.json", plan_document(sweep, expand(sweep)))
    (cell, *_) = read_plan(tmp_path).cells
    first, second = cell.stages
    assert (first.weights["schema"], first.weights["format"]) == (1, 0)
    assert second.weights == cell.weights


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        pytest.param({}, [], id="defaults"),
        pytest.param({"grpo": 1e-6}, ["grpo.learning_rate = 1e-06"], id="block"),
        pytest.param({"sft": 1e-6}, ["sft.learning_rate = 1e-06"], id="block-of-a-stage"),
        pytest.param({"grpo": 1e-6, "rewards": 1e-3}, [], id="block-that-no-stage-reads"),
        pytest.param(
            {"gold": 1e-6, "rewards": 2e-6},
            [f"curricula.own.{i}.learning_rate = {i + 1}e-06" for i in range(2)],
            id="stages",
        ),
    ],
)
def test_learning_rates_that_are_too_low_are_told_stage_by_stage(
    changes: dict[str, float], keys: list[str]
) -> None:
    rates = {name: {"learning_rate": value} for name, value in changes.items()}
    gold = {"name": "gold", "method": "sft", "steps_frac": 0.5, **rates.get("gold", {})}
    rewards = {"name": "rewards", "steps_frac": 0.5, **rates.get("rewards", {})}
    sweep = SweepSpec.model_validate(
        {
            "name": "s",
            "task": {"kind": "strict_json"},
            "trial": {
                "model": "builtin:tiny",
                "grpo": {"max_steps": 10, **rates.get("grpo", {})},
                "sft": rates.get("sft", {}),
                "curriculum": "own",
                "curricula": {"own": [gold, rewards]},
            },
        }
    )
    found = low_rate_sentences(expand(sweep))
    assert [line.split(" is below a tenth of")[0] for line in found] == keys


@pytest.mark.parametrize(
    ("golds", "method", "is_said"),
    [("grammar", "sft", True), ("grammar", "grpo", False), ("answers", "sft", False)],
)
def test_hours_say_that_drawing_golds_is_left_out(golds: str, method: str, is_said: bool) -> None:
    sweep = SweepSpec.model_validate(
        {
            "name": "s",
            "task": {"kind": "strict_json", "golds": golds},
            "trial": {
                "model": "builtin:tiny",
                "method": method,
                "grpo": {"max_steps": 2, "num_generations": 4},
            },
        }
    )
    sentences = golds_sentences(expand(sweep))
    assert ["up to 4 completions" in line for line in sentences] == [True] * is_said


@pytest.mark.parametrize(
    ("only", "count"),
    [
        pytest.param([], 16, id="everything"),
        pytest.param(["thinking=true"], 8, id="one-value"),
        pytest.param(["model=tiny"], 8, id="short-name"),
        pytest.param(["model=Qwen/Qwen2.5-0.5B-Instruct"], 8, id="full-name"),
        pytest.param(["seed=0", "seed=1"], 16, id="alternatives"),
        pytest.param(["seed=0", "thinking=false", "curriculum=standard"], 2, id="all-must-hold"),
    ],
)
def test_filters_keep_a_part_of_the_trials(sweep: SweepSpec, only: list[str], count: int) -> None:
    assert len(select(expand(sweep), parse_only(only))) == count


@pytest.mark.parametrize(
    ("only", "message"),
    [
        pytest.param(["thinking"], "expected KEY=VALUE", id="no-value"),
        pytest.param(["curiculum=standard"], "Did you mean curriculum", id="unknown-key"),
        pytest.param(["thinking=1"], "expected one of true, false", id="one-is-not-true"),
        pytest.param(["seed=2"], "expected one of 1, 0", id="value-not-in-the-sweep"),
        pytest.param(["model=gemma"], "Qwen/Qwen2.5-0.5B-Instruct, builtin:tiny", id="model"),
    ],
)
def test_filters_that_match_nothing_are_refused(
    sweep: SweepSpec, only: list[str], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        select(expand(sweep), parse_only(only))


def test_filters_that_exclude_each_other_are_refused(sweep: SweepSpec) -> None:
    part = [trial for trial in expand(sweep) if trial.thinking or trial.seed == 0]
    with pytest.raises(SpecError, match="passes all of these filters"):
        select(part, parse_only(["thinking=false", "seed=1"]))
