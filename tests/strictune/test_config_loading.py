"""Sweep files as people write them: what loads, and what each mistake is answered with."""

import re
from pathlib import Path

import pytest
import yaml

from strictune.config import SweepSpec, dump_yaml, expand, load_sweep, load_trial
from strictune.errors import SpecError

MINIMAL = """
name: small
task: {kind: strict_json}
trial:
  model: builtin:tiny
  grpo: {max_steps: 60}
matrix:
  thinking: [false, true]
  curriculum: [standard, three_stage]
"""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(MINIMAL)
    return path


def problems_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_sweep(path, overrides)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_a_minimal_file_loads_with_defaults(sweep_file: Path) -> None:
    sweep = load_sweep(sweep_file)
    assert sweep.name == "small"
    assert sweep.trial.grpo.num_generations == 8
    assert sweep.matrix.thinking == (False, True)


def test_a_resolved_sweep_loads_again_as_itself(sweep_file: Path, tmp_path: Path) -> None:
    sweep = load_sweep(sweep_file)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(dump_yaml(sweep))
    assert load_sweep(resolved) == sweep


def test_a_resolved_trial_loads_again_as_itself(sweep_file: Path, tmp_path: Path) -> None:
    for trial in expand(load_sweep(sweep_file)):
        path = tmp_path / f"{trial.trial_id}.yaml"
        path.write_text(dump_yaml(trial), encoding="utf-8")
        again = load_trial(path)
        assert again == trial
        assert again.trial_id == trial.trial_id


MISTAKES = [
    pytest.param(
        "trial.grpo.num_generations=1",
        "trial.grpo.num_generations = 1, expected a whole number of 2 or more. "
        "Completions per prompt; below 2 the advantage is always zero.",
        id="below-the-minimum",
    ),
    pytest.param(
        "trial.lora.r=0",
        "trial.lora.r = 0, expected a whole number from 1 to 256. Rank of the adapter.",
        id="outside-a-range",
    ),
    pytest.param(
        "trial.grpo.learning_rate=fast",
        "trial.grpo.learning_rate = fast, expected a number above 0, or null. "
        "Peak learning rate; null takes the default for the model's size.",
        id="text-for-a-number",
    ),
    pytest.param(
        "trial.grpo.learning_rate='0.1'",
        "trial.grpo.learning_rate = 0.1 (a text, because of the quotes around it: remove them), "
        "expected a number above 0, or null. "
        "Peak learning rate; null takes the default for the model's size.",
        id="quoted-number",
    ),
    pytest.param(
        "trial.grpo.max_steps=2.5",
        "trial.grpo.max_steps = 2.5, expected a whole number of 1 or more. "
        "Optimizer steps, over all stages.",
        id="fraction-for-a-count",
    ),
    pytest.param(
        "trial.allow_ties=yes",
        "trial.allow_ties = yes, expected true or false. "
        "Accept weight 0 on a component that decides the primary criterion; such trials are "
        "marked.",
        id="yes-for-true",
    ),
    pytest.param(
        "trial.grpo.loss_type=ppo",
        "trial.grpo.loss_type = ppo, expected one of grpo, dr_grpo, bnpo, dapo. "
        "How token losses are averaged: per completion, by a constant, per pass, per step.",
        id="unknown-choice",
    ),
    pytest.param(
        "matrix.thinking=true",
        "matrix.thinking = true, expected a list with at least one value, each true or false, "
        "or null. Without and with a think block.",
        id="value-for-a-list",
    ),
    pytest.param(
        "matrix.thinking.0=1",
        "matrix.thinking.0 = 1, expected true or false.",
        id="wrong-type-in-a-list",
    ),
    pytest.param(
        "matrix.seed=[]",
        "matrix.seed = [], expected a list with at least one value, each a whole number "
        "from 0 to 4294967295, or null. Seeds; each cell is trained once with each.",
        id="empty-list",
    ),
    pytest.param(
        "matrix.seed=[3, 3]",
        "matrix.seed lists 3 twice; list each value once.",
        id="value-twice",
    ),
    pytest.param(
        "task.kind=strict_yaml",
        "task.kind = strict_yaml, expected one of functions, ifstruct, refiner, strict_json.",
        id="unknown-task",
    ),
    pytest.param(
        "contrasts=[model]",
        "contrasts.0 = model, but matrix.model has fewer than two values to compare. "
        "Add values to the matrix, or drop the contrast.",
        id="contrast-of-nothing",
    ),
    pytest.param(
        "contrasts=[thinking, thinking]",
        "contrasts lists a key twice; list each key once.",
        id="contrast-twice",
    ),
    pytest.param(
        "trial.model=null",
        "trial.model is missing. Set it, or list models in matrix.model.",
        id="no-model",
    ),
    pytest.param(
        "matrix.curriculum=[standard, thre_stage]",
        "matrix.curriculum = thre_stage, expected one of standard, adaptive, warm_start, "
        "three_stage. Did you mean three_stage?",
        id="unknown-curriculum",
    ),
    pytest.param(
        "trial.rewards={shema: 1}",
        "trial.rewards.shema is not a reward component, expected one of format, validity, schema, "
        "reasoning, truncation, repetition, strictness. Did you mean schema?",
        id="unknown-component",
    ),
    pytest.param(
        "trial.rewards={format: -0.1}",
        "trial.rewards.format = -0.1, expected a number of 0 or more.",
        id="negative-weight",
    ),
    pytest.param(
        "resources.gpus_per_trial=1.5",
        "resources.gpus_per_trial = 1.5, expected a number from 0.0001 to 1, or auto. "
        "Share of one GPU, e.g. 0.25 for four trials on one; auto takes the smallest share that "
        "holds a trial's measured peak. Without a GPU auto packs by main memory.",
        id="one-and-a-half-gpus",
    ),
    pytest.param(
        "resources.gpus_per_trial=0.00001",
        "resources.gpus_per_trial = 1e-05, expected a number from 0.0001 to 1, or auto. "
        "Share of one GPU, e.g. 0.25 for four trials on one; auto takes the smallest share that "
        "holds a trial's measured peak. Without a GPU auto packs by main memory.",
        id="less-of-a-gpu-than-ray-can-count",
    ),
    pytest.param(
        "name=mlflow.db",
        "name = mlflow.db is the name of the tracking store. Choose another.",
        id="name-of-the-store",
    ),
    pytest.param(
        "trial.curricula={My-Own: [{name: a, steps_frac: 1}]}",
        "trial.curricula.My-Own is not a name that matches ^[a-z0-9][a-z0-9_]{0,49}$.",
        id="curriculum-name",
    ),
    pytest.param(
        "resources.cpus_per_trial=many",
        "resources.cpus_per_trial = many, expected a number of 0.0001 or more, or auto. CPU "
        "cores of a trial, and its number of torch threads; auto shares the cores out among the "
        "trials that run at the same time.",
        id="neither-a-number-nor-auto",
    ),
    pytest.param(
        "trial.lora=null",
        "trial.lora = null, expected a mapping with keys among r, lora_alpha, lora_dropout, "
        "target_modules. The adapter.",
        id="null-for-a-mapping",
    ),
]


@pytest.mark.parametrize(("override", "answer"), MISTAKES)
def test_a_mistake_is_answered_with_key_value_and_what_is_allowed(
    sweep_file: Path, override: str, answer: str
) -> None:
    assert problems_of(sweep_file, override) == [f"--set {override}: {answer}"]


def put(data: dict[str, object], override: str) -> None:
    key, _, value = override.partition("=")
    *parents, last = key.split(".")
    node = data
    for part in parents:
        node = node.setdefault(part, {})  # type: ignore[assignment]
    node[last] = yaml.safe_load(value)


@pytest.mark.parametrize(
    ("override", "answer"),
    [case for case in MISTAKES if case.id not in {"wrong-type-in-a-list", "yes-for-true"}],
)
def test_the_same_mistake_in_the_file_is_answered_with_the_files_name(
    sweep_file: Path, override: str, answer: str
) -> None:
    data = yaml.safe_load(MINIMAL)
    put(data, override)
    sweep_file.write_text(yaml.safe_dump(data))
    assert problems_of(sweep_file) == [answer]
    with pytest.raises(SpecError, match=r"small\.yaml: "):
        load_sweep(sweep_file)


@pytest.mark.parametrize(
    ("override", "start", "end"),
    [
        pytest.param(
            "trial.grpo.num_generatons=8",
            "trial.grpo.num_generatons is not a known key, expected one of per_device_train_b",
            "Did you mean num_generations?",
            id="close",
        ),
        pytest.param(
            "trial.beta=0.1",
            "trial.beta is not a known key, expected one of model, quantization,",
            "Did you mean trial.grpo.beta?",
            id="in-another-place",
        ),
        pytest.param(
            "trial.grpo.seed=1",
            "trial.grpo.seed is not a known key, expected one of",
            "Did you mean task.split.seed or trial.seed or matrix.seed or search.seed or "
            "evaluation.seed?",
            id="in-several-places",
        ),
        pytest.param(
            "trial.reward.schema=1",
            "trial.reward is not a known key, expected one of model, quantization,",
            # The refiner's task.reward is no key of this file.
            "Did you mean rewards?",
            id="beside-it-and-not-in-another-kind-of-task",
        ),
        pytest.param(
            "search={num_trials: 2, space: {rewards: {schema: 1}}}",
            "search.space.rewards.schema is not a known key, expected one of components, min",
            "may_be_zero.",
            id="a-component-in-a-search",
        ),
        pytest.param(
            "sampler.kind=tpe",
            "sampler is not a known key, expected one of name, task, trial, matrix, search,",
            "Did you mean search.sampler?",
            id="in-another-block",
        ),
        pytest.param(
            "task.xyz=x",
            "task.xyz is not a known key, expected one of kind, data_seed, num_train_prompts,",
            "max_prompt_tokens.",
            id="inside-the-task",
        ),
        pytest.param(
            "trial.curricula={own: [{name: a, steps_frac: 1, tmperature: 1}]}",
            "trial.curricula.own.0.tmperature is not a known key, expected one of name, steps_",
            "Did you mean temperature?",
            id="inside-a-list",
        ),
    ],
)
def test_an_unknown_key_is_answered_with_the_known_ones(
    sweep_file: Path, override: str, start: str, end: str
) -> None:
    [problem] = problems_of(sweep_file, override)
    assert problem.startswith(f"--set {override}: {start}")
    assert problem.endswith(end)


def test_all_problems_are_listed_at_once(sweep_file: Path) -> None:
    sweep_file.write_text(
        """
name: a b
taks: {}
trial:
  grpo: {learning_rate: x, num_generations: 1}
matrix: [1]
"""
    )
    keys = {problem.split(" ")[0] for problem in problems_of(sweep_file)}
    assert keys == {
        "name",
        "taks",
        "task",
        "trial.grpo.max_steps",
        "trial.grpo.learning_rate",
        "trial.grpo.num_generations",
        "matrix",
    }


@pytest.mark.parametrize("override", ["name={}", "matrix.variant={{{}: {{}}}}"])
def test_a_name_fits_into_the_name_of_a_folder(sweep_file: Path, override: str) -> None:
    [problem] = problems_of(sweep_file, override.format("a" * 300))
    assert re.search(r"that matches .*\{0,(49|99)}\$", problem)


def test_a_problem_of_several_cells_is_listed_once(sweep_file: Path) -> None:
    problems = problems_of(sweep_file, "trial.rewards={format: 1}", "matrix.seed=[0, 1, 2]")
    assert len(problems) == len(set(problems)) == 3
    assert all("allow_ties" in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "found nothing, expected a mapping", id="empty"),
        pytest.param("- 1", "found list, expected a mapping", id="list"),
        pytest.param("a: &a [*a]", "contains itself", id="endless-alias"),
        pytest.param("name: x\nname: y", ":2: .*name appears twice", id="key-twice"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(sweep_file: Path, text: str, message: str) -> None:
    sweep_file.write_text(text)
    with pytest.raises(SpecError, match=message):
        load_sweep(sweep_file)


def test_a_file_that_is_no_text_is_refused(sweep_file: Path) -> None:
    sweep_file.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(SpecError, match="UTF-8"):
        load_sweep(sweep_file)


def test_a_missing_file_is_answered_with_the_closest_name(sweep_file: Path) -> None:
    with pytest.raises(SpecError, match=r"smal\.yaml: no such file\. Did you mean small\.yaml\?"):
        load_sweep(sweep_file.with_name("smal.yaml"))


def test_a_folder_is_no_sweep_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_sweep(tmp_path)


def test_a_sweep_file_is_no_resolved_trial(sweep_file: Path) -> None:
    with pytest.raises(SpecError, match="matrix is not a known key"):
        load_trial(sweep_file)


def test_the_schema_describes_every_field() -> None:
    schema = SweepSpec.model_json_schema()
    nodes = [schema, *schema["$defs"].values()]
    undocumented = [
        f"{node['title']}.{name}"
        for node in nodes
        for name, field in node.get("properties", {}).items()
        if not field.get("description")
    ]
    assert undocumented == []
