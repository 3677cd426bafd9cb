"""Supervised cells: what they train on, what names them, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from strictune.config import GrpoSpec, SftSpec, TrialSpec, expand, load_sweep
from strictune.config.training import sft_stage
from strictune.errors import SpecError
from strictune.planning import plan_document

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
QUICKSTART = SPACES / "quickstart.yaml"


def trial(**changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json"},
        "model": "builtin:tiny",
        "method": "sft",
        "grpo": {"max_steps": 10},
    }
    return TrialSpec.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("sft", "grpo", "expected"),
    [
        # 10 steps x 8 completions of 1 prompt each
        pytest.param({}, {}, (10, 10, 80, 10), id="as-many-completions"),
        pytest.param({"match": "prompts"}, {}, (10, 10, 10, 2), id="each-gold-once"),
        pytest.param(
            {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 6},
            {},
            (10, 10, 80, 3),
            id="the-last-step-is-smaller",
        ),
        pytest.param({}, {"num_generations": 2}, (40, 40, 80, 10), id="more-prompts"),
        pytest.param({}, {"num_iterations": 4}, (10, 3, 80, 10), id="each-completion-four-times"),
        pytest.param({}, {"steps_per_generation": 3}, (12, 12, 80, 10), id="whole-generations"),
        pytest.param(
            {},
            {"num_iterations": 2, "steps_per_generation": 3},
            (12, 6, 80, 10),
            id="each-generation-twice",
        ),
    ],
)
def test_a_stage_has_the_prompts_and_completions_of_grpo(
    sft: dict[str, Any], grpo: dict[str, Any], expected: tuple[int, ...]
) -> None:
    found = sft_stage(
        SftSpec(**sft), GrpoSpec.model_validate({"max_steps": 99} | grpo), grpo_steps=10
    )
    assert found == expected


def test_with_workers_both_methods_have_as_many_prompts_and_steps() -> None:
    supervised = trial(distributed={"num_workers": 2})
    [stage] = supervised.sft_stages
    assert tuple(stage) == (20, 20, 160, 10)
    assert trial(method="grpo", distributed={"num_workers": 2}).prompts_per_step * 10 == 20


def test_steps_follow_from_the_prompts_stage_by_stage() -> None:
    spec = trial(curriculum="three_stage", sft={"match": "prompts"}, grpo={"max_steps": 100})
    assert trial(curriculum="three_stage", method="grpo", grpo={"max_steps": 100}).stage_steps == (
        32,
        32,
        36,
    )
    assert [stage.num_prompts for stage in spec.sft_stages] == [32, 32, 36]
    assert spec.stage_steps == (4, 4, 5)


GRPO_NAMES = {
    "quickstart.yaml": "tiny-no-think-standard-s0-538d9b38",
}


@pytest.mark.parametrize("name", GRPO_NAMES)
def test_the_method_renames_no_trial_of_files_without_it(name: str) -> None:
    assert expand(load_sweep(SPACES / name))[0].trial_id == GRPO_NAMES[name]
    crossed = expand(
        load_sweep(
            SPACES / name,
            ["matrix.method=[grpo, sft]", "matrix.seed=[0]", "sft.learning_rate=1e-3"],
        )
    )
    names = [spec.trial_id for spec in crossed]
    assert names[0] == GRPO_NAMES[name]
    assert names[1].startswith("tiny-no-think-standard-sft-s0-")
    assert crossed[1].cell == "tiny \N{MIDDLE DOT} no-think \N{MIDDLE DOT} standard " + (
        "\N{MIDDLE DOT} sft"
    )


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        pytest.param(
            {"grpo": {"max_steps": 10, "beta": 0.1, "learning_rate": 1e-3}}, True, id="kl"
        ),
        pytest.param({"grpo": {"max_steps": 10, "temperature": 0.5}}, True, id="temperature"),
        pytest.param({"rewards": {"schema": 1.0, "strictness": 1.0}}, True, id="weights"),
        pytest.param({"rollouts": {"engine": "continuous_batching"}}, True, id="engine"),
        pytest.param({"sft": {"logging_steps": 5}}, True, id="logging"),
        pytest.param({"grpo": {"max_steps": 11}}, False, id="prompts"),
        pytest.param(
            {"grpo": {"max_steps": 10, "num_iterations": 2}}, False, id="passes-over-fewer-prompts"
        ),
        pytest.param(
            {"grpo": {"max_steps": 10, "max_completion_length": 64}}, False, id="token-limit"
        ),
        pytest.param({"sft": {"learning_rate": 1e-3}}, False, id="learning-rate"),
        pytest.param({"sft": {"match": "prompts"}}, False, id="match"),
        pytest.param({"lora": {"r": 8}}, False, id="adapter"),
        pytest.param({"seed": 1}, False, id="seed"),
        pytest.param({"method": "grpo"}, False, id="method"),
    ],
)
def test_what_acts_on_supervised_training_names_the_trial(
    changes: dict[str, Any], is_same: bool
) -> None:
    assert (trial(**changes).fingerprint == trial().fingerprint) is is_same


def test_the_sft_block_does_not_name_grpo_trials() -> None:
    one = trial(method="grpo")
    other = trial(method="grpo", sft={"learning_rate": 1.0, "match": "prompts"})
    assert one.fingerprint == other.fingerprint


def test_without_rewards_nothing_can_tie() -> None:
    ties = {"rewards_no_think": {"format": 1.0}, "allow_ties": True}
    assert trial(**ties, method="grpo").ties
    assert trial(**ties).ties == ()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["matrix.method=[grpo, ppo]"],
            "--set matrix.method=[grpo, ppo]: matrix.method.1 = ppo, expected one of grpo, sft.",
            id="unknown",
        ),
        pytest.param(
            ["trial.sft.match=tokens"],
            "trial.sft.match = tokens, expected one of completions, prompts.",
            id="match",
        ),
        pytest.param(
            ["trial.sft={lr_scheduler_type: constant, warmup_steps: 3}"],
            "trial.sft.warmup_steps = 3, but lr_scheduler_type = constant never warms up.",
            id="schedule",
        ),
        pytest.param(
            ["contrasts=[method]"],
            "contrasts.0 = method, but matrix.method has fewer than two values",
            id="contrast",
        ),
        pytest.param(
            [
                "trial.method=sft",
                "contrasts=[]",
                "search={num_trials: 2, space: {settings: {sft.learning_rate: {low: 1, high: 2}}}}",
            ],
            "--set trial.method=sft: trial.method has sft, which no search can be about",
            id="search",
        ),
    ],
)
def test_what_makes_no_supervised_trial_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(QUICKSTART, overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("file", "override", "message"),
    [
        pytest.param(
            "refiner.yaml",
            "matrix={method: [grpo, sft]}",
            "task refiner knows no gold completions to train on. Use grpo, or define gold_com",
            id="none",
        ),
        pytest.param(
            "extraction_quickstart.yaml",
            "matrix={method: [grpo, sft], thinking: [true]}",
            "task strict_json knows no gold completions with thoughts to train on. Use grpo, or",
            id="none-with-thoughts",
        ),
    ],
)
def test_a_task_without_gold_is_refused_before_anything_starts(
    file: str, override: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(SPACES / file, [override, "contrasts=[]"])
    assert f"matrix.method = sft, but {message}" in str(caught.value)


def test_variants_that_only_grpo_reads_share_one_supervised_trial() -> None:
    variants = "{own: {}, high_kl: {grpo.beta: 0.1}, small: {lora.r: 4}}"
    overrides = [f"matrix={{method: [sft, grpo], variant: {variants}}}", "contrasts=[method]"]
    trials = expand(load_sweep(QUICKSTART, overrides))
    assert [(spec.method, spec.variant) for spec in trials] == [
        ("sft", "own"),
        ("sft", "small"),
        ("grpo", "own"),
        ("grpo", "high_kl"),
        ("grpo", "small"),
    ]


def test_the_plan_names_the_method() -> None:
    sweep = load_sweep(QUICKSTART, ["matrix={method: [sft, grpo]}", "contrasts=[method]"])
    plan = plan_document(sweep, expand(sweep))
    assert [cell["method"] for cell in plan["cells"]] == ["sft", "grpo"]
    assert [one["method"] for one in plan["trials"]] == ["sft", "grpo"]
    supervised = plan["cells"][0]
    assert supervised["weights"] == {}
    assert supervised["completions_per_step"] == 8
    # 16 steps x 4 prompts x 8 completions
    stages = [cell["stages"] for cell in plan["cells"]]
    steps = [[(stage["name"], stage["steps"]) for stage in of_cell] for of_cell in stages]
    assert steps == [[("standard", 64)], [("standard", 16)]]


MAILS = SPACES / "extraction_quickstart.yaml"
NO_ANSWERS = ("task.columns={prompt: text}", "contrasts=[]")


def trials_of_mails(*overrides: str) -> tuple[TrialSpec, TrialSpec]:
    """Return the supervised trial and that of GRPO."""
    supervised, learned = expand(load_sweep(MAILS, list(overrides)))
    assert (supervised.method, learned.method) == ("sft", "grpo")
    return supervised, learned


def test_golds_of_its_own_name_the_supervised_trial_alone() -> None:
    answers, grammar = (trials_of_mails(f"task.golds={golds}") for golds in ("answers", "grammar"))
    default, named = trials_of_mails(), (answers[0].trial_id, grammar[0].trial_id)
    assert named[0] == default[0].trial_id != named[1]
    assert {trials[1].trial_id for trials in (answers, grammar, default)} == {default[1].trial_id}
    assert default[0].task.measure() == grammar[0].task.measure()
    warmer = trials_of_mails("task.golds=grammar", "trial.grpo.temperature=0.5")
    assert warmer[0].trial_id != grammar[0].trial_id


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["task.golds=answers"], "columns.answer names no column.*set golds = gram", id="answers"
        ),
        pytest.param([], "method = sft, but.*no gold completions.*task.golds = grammar", id="null"),
        pytest.param(["task.golds=none"], "method = sft, but task strict_json", id="none"),
    ],
)
def test_supervised_training_on_rows_without_answers_is_refused_with_the_way_out(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        expand(load_sweep(MAILS, [*NO_ANSWERS, *overrides]))
    assert len(expand(load_sweep(MAILS, [*NO_ANSWERS, "task.golds=grammar"]))) == 2
