"""Every shipped sweep file loads, and the published preset says what was published."""

import json
from collections import Counter
from pathlib import Path

import pytest

from strictune.cli import main
from strictune.config import expand, load_sweep
from strictune.planning import low_rate_sentences

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
FILES = sorted(SPACES.glob("*.yaml"))

PUBLISHED_MODELS = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-360M-Instruct",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "google/gemma-2-2b-it",
)


def test_all_shipped_files_are_found() -> None:
    names = {path.stem for path in FILES}
    assert {"quickstart", "smollm2_cpu", "strict_json_matrix", "strict_json_single"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_has_trials(path: Path) -> None:
    trials = expand(load_sweep(path))
    assert len({trial.trial_id for trial in trials}) == len(trials) >= 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_is_described_in_the_readme(path: Path) -> None:
    assert f"`{path.name}`" in (SPACES / "README.md").read_text()


def test_shipped_sweeps_do_not_share_a_name() -> None:
    names = [load_sweep(path).name for path in FILES]
    assert len(set(names)) == len(names)


def test_the_matrix_plans_twenty_cells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(SPACES / "strict_json_matrix.yaml"), "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert len({cell["name"] for cell in cells}) == len(cells) == 20
    assert {cell["model"] for cell in cells} == set(PUBLISHED_MODELS)
    for cell in cells:
        assert {"name", "model", "thinking", "curriculum", "config"} <= cell.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_asks_for_one_core_and_a_gpu_only_where_it_must(path: Path) -> None:
    sweep = load_sweep(path)
    assert sweep.resources.cpus_per_trial == 1
    assert sweep.resources.gpus_per_trial in ("auto", 0.25, 0.5)


def test_the_recipe_stands_against_grpo_alone_on_every_published_model() -> None:
    trials = expand(load_sweep(SPACES / "recipe_matrix.yaml"))
    assert {trial.model for trial in trials} == set(PUBLISHED_MODELS)
    stages = {
        trial.curriculum: [(trial.stage_method(s), s.is_adaptive) for s in trial.stages]
        for trial in trials
    }
    assert stages == {
        "standard": [("grpo", False)],
        "recipe": [("sft", False), ("grpo", True)],
    }
    assert {trial.grpo.flat_groups for trial in trials} == {"drop"}
    assert not low_rate_sentences(trials)


def test_the_published_preset_pins_the_published_setup() -> None:
    sweep = load_sweep(SPACES / "strict_json_matrix.yaml")
    trial = sweep.trial
    assert sweep.task.num_train_prompts == 5000
    assert (trial.quantization, trial.dtype) == ("nf4", "bfloat16")
    assert (trial.lora.r, trial.lora.lora_alpha, trial.lora.lora_dropout) == (16, 32, 0)
    assert len(trial.lora.target_modules) == 7
    assert trial.grpo.model_dump(exclude={"logging_steps"}) == {
        "max_steps": 2500,
        "num_generations": 8,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "learning_rate": 5e-6,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "weight_decay": 0.1,
        "max_grad_norm": 0.1,
        "optim": "paged_adamw_8bit",
        "beta": 0.04,
        "kl_reference": "base",
        "loss_type": "grpo",
        "scale_rewards": "group",
        "epsilon": 0.2,
        "epsilon_high": None,
        "importance_sampling_level": "token",
        "entropy_coef": 0.0,
        "num_iterations": 1,
        "steps_per_generation": None,
        "temperature": 0.7,
        "top_p": 1.0,
        "max_completion_length": 1024,
        "max_think_length": 256,
        "use_bias_correction_kl": False,
        "multi_objective_aggregation": "sum_then_normalize",
        "mask_truncated_completions": False,
        "flat_groups": "keep",
        "gradient_checkpointing": True,
    }


def test_the_published_preset_leaves_no_training_field_to_a_default() -> None:
    grpo = load_sweep(SPACES / "strict_json_matrix.yaml").trial.grpo
    assert type(grpo).model_fields.keys() - grpo.model_fields_set == {"logging_steps"}


def test_the_published_cells_train_with_the_published_weights_and_stages() -> None:
    trials = expand(load_sweep(SPACES / "strict_json_matrix.yaml"))
    weights = {trial.thinking: tuple(trial.weights.values()) for trial in trials}
    assert weights == {
        True: (0.10, 0.15, 0.20, 0.25, 0.10, 0.10, 0.10),
        False: (0.20, 0.25, 0.25, 0.0, 0.10, 0.10, 0.10),
    }
    [staged] = {
        tuple((s.name, n, s.temperature, *(s.mix or {}).values()) for s, n in stages)
        for stages in (
            tuple(zip(trial.stages, trial.stage_steps, strict=True))
            for trial in trials
            if trial.curriculum == "three_stage"
        )
    }
    assert staged == (
        ("format_basics", 800, 0.8, 35, 55, 10),
        ("progressive", 800, 0.7, 15, 35, 50),
        ("full_difficulty", 900, 0.6, 10, 25, 65),
    )
    tokens = {trial.thinking: trial.max_completion_tokens for trial in trials}
    assert tokens == {True: 1280, False: 1024}


def test_the_single_model_file_is_a_part_of_the_matrix() -> None:
    matrix = {t.trial_id: t for t in expand(load_sweep(SPACES / "strict_json_matrix.yaml"))}
    single = {t.trial_id: t for t in expand(load_sweep(SPACES / "strict_json_single.yaml"))}
    assert len(single) == 4
    assert single.items() <= matrix.items()


def test_the_quickstart_decides_its_cells_and_their_contrast_on_the_builtin_model() -> None:
    sweep = load_sweep(SPACES / "quickstart.yaml")
    trials = expand(sweep)
    assert {(trial.model, trial.dtype) for trial in trials} == {("builtin:tiny", "float32")}
    assert Counter(trial.thinking for trial in trials) == {False: 3, True: 3}
    assert sweep.contrasts == ("thinking",)


def test_the_real_model_runs_with_and_without_thinking() -> None:
    trials = expand(load_sweep(SPACES / "smollm2_cpu.yaml"))
    assert [trial.thinking for trial in trials] == [False, True]
    assert [trial.max_evaluation_tokens for trial in trials] == [256, 384]
    assert {trial.evaluation.final_split for trial in trials} == {"validation"}
    assert {trial.evaluation.num_prompts_per_difficulty for trial in trials} == {48}
