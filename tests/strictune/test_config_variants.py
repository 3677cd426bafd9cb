"""The variants of a matrix: named settings, crossed like any other key."""

from pathlib import Path

import pytest
import yaml

from strictune.config import expand, load_sweep
from strictune.errors import SpecError
from strictune.planning import plan_document

TRIAL = {"model": "builtin:tiny", "grpo": {"max_steps": 4}}


def written(path: Path, **blocks: object) -> Path:
    content = {"name": "s", "task": {"kind": "strict_json"}, "trial": TRIAL} | blocks
    file = path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_each_variant_is_a_cell_with_its_own_settings(tmp_path: Path) -> None:
    variants = {"default": {}, "high_kl": {"grpo.beta": 0.5, "lora.r": 4}}
    trials = expand(load_sweep(written(tmp_path, matrix={"variant": variants, "seed": [0, 1]})))
    assert [(trial.cell, trial.seed, trial.grpo.beta, trial.lora.r) for trial in trials] == [
        ("tiny · no-think · standard · default", 0, 0.0, 16),
        ("tiny · no-think · standard · default", 1, 0.0, 16),
        ("tiny · no-think · standard · high-kl", 0, 0.5, 4),
        ("tiny · no-think · standard · high-kl", 1, 0.5, 4),
    ]
    assert trials[2].trial_id.startswith("tiny-no-think-standard-high-kl-s0-")


def test_a_variant_without_settings_trains_what_the_plain_cell_trains(tmp_path: Path) -> None:
    [plain] = expand(load_sweep(written(tmp_path)))
    [variant] = expand(load_sweep(written(tmp_path, matrix={"variant": {"default": {}}})))
    assert variant.fingerprint == plain.fingerprint
    assert variant.trial_id != plain.trial_id


def test_variants_can_be_contrasted(tmp_path: Path) -> None:
    variants = {"default": {}, "high_kl": {"grpo.beta": 0.5}}
    sweep = load_sweep(written(tmp_path, matrix={"variant": variants}, contrasts=["variant"]))
    plan = plan_document(sweep, expand(sweep))
    assert plan["contrasts"] == ["variant"]
    assert [trial["variant"] for trial in plan["trials"]] == ["default", "high_kl"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"grpo.beta": -1}, "matrix.variant.bad.grpo.beta = -1, expected a number of 0 or more"),
        ({"grpo.betta": 1}, "matrix.variant.bad.grpo.betta is not a known key"),
        ({"grpo.beta.x": 1}, 'matrix.variant.bad.grpo.beta = {"x": 1}, expected a number'),
        ({"rewards.format": "a"}, "matrix.variant.bad.rewards.format = a, expected a number"),
        ({"lora.target_modules.9": "q"}, "matrix.variant.bad.lora.target_modules = {"),
        ({"rewards": {"formt": 1}}, "matrix.variant.bad.rewards.formt is not a reward component"),
        ({"thinking": True}, "matrix.variant.bad.thinking is crossed by the matrix, not set"),
        ({"model": "builtin:tiny"}, "Use matrix.model."),
        ({"seed": 3}, "matrix.variant.bad.seed is crossed"),
        ({"variant": "a"}, "matrix.variant.bad.variant is not a known key"),
    ],
)
def test_a_wrong_setting_is_named_where_it_stands(
    tmp_path: Path, settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(written(tmp_path, matrix={"variant": {"bad": settings}}))
    assert problem in str(caught.value)


REFINER = {"kind": "refiner", "judge": {"kind": "openai", "base_url": "http://a/v1", "model": "m"}}
HELD_OUT = {**REFINER, "holdout_judge": {"kind": "lexical"}}


def test_a_variant_may_change_what_its_task_pays(tmp_path: Path) -> None:
    variants = {"default": {}, "heavy": {"task.reward.citation_weight": 1.0, "grpo.beta": 0.5}}
    file = written(tmp_path, task=REFINER, matrix={"variant": variants})
    plain, heavy = expand(load_sweep(file))
    assert (plain.task.reward.citation_weight, heavy.task.reward.citation_weight) == (0.2, 1.0)
    assert (heavy.grpo.beta, heavy.task.judge) == (0.5, plain.task.judge)
    assert heavy.fingerprint != plain.fingerprint
    assert heavy.task.measure() == plain.task.measure()


def test_a_variant_may_have_a_judge_of_its_own_where_evaluations_have_another(
    tmp_path: Path,
) -> None:
    variants = {"default": {}, "words": {"task.judge": {"kind": "lexical"}}}
    file = written(tmp_path, task=HELD_OUT, matrix={"variant": variants})
    assert [trial.task.judge.kind for trial in expand(load_sweep(file))] == ["openai", "lexical"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        pytest.param(
            {"task.judge": {"kind": "lexical"}},
            "task.holdout_judge decides what evaluations measure, and task.judge changes it",
            id="judge-of-evaluations",
        ),
        pytest.param(
            {"task.pass_rubric_mean": 0.5},
            "matrix.variant.bad.task.pass_rubric_mean decides what evaluations measure",
            id="pass-mark",
        ),
        pytest.param({"task.data_seed": 1}, "task.data_seed decides", id="rows"),
        pytest.param(
            {"task.reward.citation_wait": 1},
            "matrix.variant.bad.task.reward.citation_wait is not a known key, expected one of "
            "scale, citation_weight, instance_rubrics_only, gate_by_format, non_stop_penalty. "
            "Did you mean citation_weight?",
            id="misspelt",
        ),
        pytest.param(
            {"task.judge.temperature": 9},
            "matrix.variant.bad.task.judge.temperature = 9, expected a number from 0 to 2",
            id="out-of-range",
        ),
        pytest.param({"task.kind": "strict_json"}, "are of one task, refiner", id="other-task"),
    ],
)
def test_a_setting_of_the_task_that_makes_no_fair_trial_is_refused(
    tmp_path: Path, settings: dict[str, object], problem: str
) -> None:
    file = written(tmp_path, task=REFINER, matrix={"variant": {"default": {}, "bad": settings}})
    with pytest.raises(SpecError) as caught:
        load_sweep(file)
    assert problem in str(caught.value)


def test_training_prompts_may_differ_and_evaluation_prompts_may_not(tmp_path: Path) -> None:
    more = {"more": {"task.num_train_prompts": 60}}
    [trial] = expand(load_sweep(written(tmp_path, matrix={"variant": more})))
    assert trial.task.num_train_prompts == 60
    with pytest.raises(SpecError, match=r"task\.num_eval_prompts decides"):
        load_sweep(written(tmp_path, matrix={"variant": {"a": {"task.num_eval_prompts": 60}}}))


def test_a_first_point_of_a_search_sets_nothing_that_is_crossed(tmp_path: Path) -> None:
    space = {"settings": {"grpo.beta": {"low": 0.0, "high": 1.0}}}
    search = {"space": space, "num_trials": 2, "first": [{}, {"grpo.beta": 0.1, "thinking": True}]}
    with pytest.raises(SpecError, match=r"search\.first\.1 .*trial\.thinking is crossed by the"):
        load_sweep(written(tmp_path, search=search))


def test_a_search_may_draw_what_the_task_pays(tmp_path: Path) -> None:
    def searched(**settings: object) -> Path:
        space = {"settings": settings}
        return written(tmp_path, task=REFINER, search={"space": space, "num_trials": 2})

    load_sweep(searched(**{"task.reward.citation_weight": {"low": 0.0, "high": 1.0}}))
    with pytest.raises(SpecError, match=r"task\.reward\.gate is not a setting of trial"):
        load_sweep(searched(**{"task.reward.gate": {"choices": [True, False]}}))
    with pytest.raises(SpecError, match=r"task\.pass_rubric_mean decides what evaluations"):
        load_sweep(searched(**{"task.pass_rubric_mean": {"choices": [0.5, 0.9]}}))
