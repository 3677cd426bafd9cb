import re
from typing import Any

import pytest
from pydantic import ValidationError

from strictune.config import GrpoSpec, StageSpec, TrialSpec
from strictune.config.curriculum import stage_steps
from strictune.config.naming import short_model_name


def trial(**changes: Any) -> TrialSpec:
    fields: dict[str, Any] = {
        "task": {"kind": "strict_json"},
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "grpo": {"max_steps": 2500},
    }
    return TrialSpec.model_validate(fields | changes)


def stages(*shares: float) -> list[StageSpec]:
    return [StageSpec(name=f"s{i}", steps_frac=share) for i, share in enumerate(shares)]


@pytest.mark.parametrize(
    ("shares", "max_steps", "steps"),
    [
        pytest.param((1.0,), 60, (60,), id="one-stage"),
        pytest.param((0.32, 0.32, 0.36), 2500, (800, 800, 900), id="published"),
        pytest.param((0.32, 0.32, 0.36), 60, (19, 19, 22), id="rounded"),
        pytest.param((0.1,) * 10, 7, (1, 0, 1, 1, 1, 0, 1, 1, 0, 1), id="errors-do-not-pile-up"),
    ],
)
def test_stages_split_all_steps(
    shares: tuple[float, ...], max_steps: int, steps: tuple[int, ...]
) -> None:
    split = stage_steps(stages(*shares), max_steps=max_steps)
    assert sum(split) == max_steps
    assert split == steps


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m", id="instruct"),
        pytest.param("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama-1.1b", id="chat-version"),
        pytest.param("google/gemma-2-2b-it", "gemma-2-2b", id="it"),
        pytest.param("package:smollm2-135m", "smollm2-135m", id="package"),
        pytest.param("builtin:tiny", "tiny", id="builtin"),
        pytest.param("/models/My Model/", "my model", id="folder"),
        pytest.param("/", "/", id="nothing-left"),
    ],
)
def test_models_have_short_names(model: str, name: str) -> None:
    assert short_model_name(model) == name


def test_names_tell_the_cell_and_the_seed() -> None:
    spec = trial(thinking=True, curriculum="three_stage", seed=1)
    assert spec.cell == "smollm2-135m \u00b7 think \u00b7 three-stage"
    assert spec.display_name == "smollm2-135m \u00b7 think \u00b7 three-stage \u00b7 seed 1"
    slug, digest = spec.trial_id.rsplit("-", 1)
    assert slug == "smollm2-135m-think-three-stage-s1"
    assert digest == spec.fingerprint[:8]


@pytest.mark.parametrize(
    "model", ["../my models/L\u00f6we 1", "C:\\models\\x", "a/b:c*?", "/", "\u6a21\u578b"]
)
def test_trial_ids_are_safe_folder_names(model: str) -> None:
    trial_id = trial(model=model).trial_id
    assert trial_id.isascii()
    assert not set(trial_id) & set("/\\:*? ")
    assert trial_id[0].isalnum()


SAME = [
    pytest.param({"checkpoint": {"save_steps": 3}}, id="checkpoints"),
    pytest.param({"allow_ties": True}, id="permission"),
    pytest.param({"model_label": "other"}, id="label"),
    pytest.param({"grpo": {"max_steps": 2500, "max_think_length": 9}}, id="unused-think-tokens"),
    pytest.param({"grpo": {"max_steps": 2500, "logging_steps": 5}}, id="logging"),
    pytest.param({"evaluation": {"max_think_tokens": 9}}, id="unused-evaluation-tokens"),
    pytest.param({"curricula": {"x": [{"name": "x", "steps_frac": 1}]}}, id="unused-curriculum"),
    pytest.param(
        {"rewards": {"schema": 1, "strictness": 1, "reasoning": 1}, "rewards_no_think": "own"},
        id="unused-weights",
    ),
]


@pytest.mark.parametrize("changes", SAME)
def test_what_cannot_change_results_does_not_rename_a_trial(changes: dict[str, Any]) -> None:
    before = trial()
    if changes.get("rewards_no_think") == "own":
        changes = changes | {"rewards_no_think": before.weights}
    assert trial(**changes).trial_id == before.trial_id


DIFFERENT = [
    pytest.param({"seed": 1}, id="seed"),
    pytest.param({"thinking": True}, id="thinking"),
    pytest.param({"curriculum": "three_stage"}, id="curriculum"),
    pytest.param({"grpo": {"max_steps": 2499}}, id="steps"),
    pytest.param({"grpo": {"max_steps": 2500, "max_completion_length": 9}}, id="tokens"),
    pytest.param({"lora": {"r": 8}}, id="lora"),
    pytest.param({"quantization": "none"}, id="quantization"),
    pytest.param({"task": {"kind": "strict_json", "data_seed": 1}}, id="data"),
    pytest.param({"rewards": {"schema": 1, "strictness": 1}}, id="weights"),
    pytest.param({"evaluation": {"temperature": 0.6}}, id="decoding"),
    pytest.param({"evaluation": {"batch_size": 8}}, id="batched-sampling"),
    pytest.param({"curricula": {"standard": [{"name": "x", "steps_frac": 1}]}}, id="stages"),
]


@pytest.mark.parametrize("changes", DIFFERENT)
def test_what_can_change_results_renames_a_trial(changes: dict[str, Any]) -> None:
    assert trial(**changes).fingerprint != trial().fingerprint


def test_token_limits_grow_with_thinking_only() -> None:
    changes: dict[str, Any] = {
        "grpo": {"max_steps": 1, "max_completion_length": 100, "max_think_length": 20},
        "evaluation": {"max_new_tokens": 200, "max_think_tokens": 40},
    }
    assert trial(**changes).max_completion_tokens == 100
    assert trial(**changes).max_evaluation_tokens == 200
    assert trial(**changes, thinking=True).max_completion_tokens == 120
    assert trial(**changes, thinking=True).max_evaluation_tokens == 240


def test_a_curriculum_of_the_tasks_name_replaces_it() -> None:
    own = [{"name": "only_hard", "steps_frac": 1, "mix": {"hard": 1}}]
    assert trial(curricula={"standard": own}).stages[0].name == "only_hard"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"curriculum": "thre_stage"}, "Did you mean three_stage", id="curriculum"),
        pytest.param(
            {"curriculum": "three_stage", "grpo": {"max_steps": 1}}, "leaves no step", id="no-step"
        ),
        pytest.param(
            {"curricula": {"standard": [{"name": "a", "steps_frac": 0.5}]}},
            "add up to 0.5",
            id="half-the-steps",
        ),
        pytest.param(
            {"curricula": {"standard": [{"name": "a", "steps_frac": 0.5}] * 2}},
            "two stages named a",
            id="names-collide",
        ),
        pytest.param(
            {"curricula": {"standard": [{"name": "a", "steps_frac": 1, "mix": {"eazy": 1}}]}},
            "mix.eazy names no difficulty",
            id="unknown-difficulty",
        ),
        pytest.param(
            {"curricula": {"standard": [{"name": "a", "steps_frac": 1, "mix": {"hard": 0}}]}},
            "adds up to 0",
            id="empty-mix",
        ),
        pytest.param(
            {"evaluation": {"temperature": 0, "samples_per_prompt": 2}},
            "repeats one completion",
            id="greedy-samples",
        ),
        pytest.param({"evaluation": {"split": "test"}}, "validation", id="choosing-on-test"),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        trial(**changes)


def test_weights_at_zero_mark_the_trial() -> None:
    spec = trial(rewards_no_think={"schema": 1}, allow_ties=True)
    assert spec.ties == ("strictness",)
    assert trial().ties == ()


def test_specs_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        trial().grpo.beta = 1.0  # type: ignore[misc]
    assert GrpoSpec(max_steps=1) == GrpoSpec(max_steps=1)


def test_a_stage_may_have_reward_weights_of_its_own() -> None:
    first = {"name": "first", "steps_frac": 0.5, "rewards": {"schema": 0.9, "strictness": 0.1}}
    rest = {"name": "rest", "steps_frac": 0.5}
    found = trial(curricula={"two": [first, rest]}, curriculum="two")
    weights = found.stage_weights(found.stages[0])
    assert (weights["schema"], weights["format"]) == (pytest.approx(0.9), 0)
    assert found.stage_weights(found.stages[1]) == found.weights
    plain = trial(curricula={"two": [first | {"rewards": None}, rest]}, curriculum="two")
    assert plain.fingerprint != found.fingerprint


def test_a_stage_without_a_decisive_weight_is_refused_or_marked() -> None:
    own = [{"name": "only", "steps_frac": 1.0, "rewards": {"schema": 1.0}}]
    with pytest.raises(
        ValidationError, match=r"curricula\.own\.0\.rewards\.strictness is left out"
    ):
        trial(curricula={"own": own}, curriculum="own")
    marked = trial(curricula={"own": own}, curriculum="own", allow_ties=True)
    assert marked.ties == ("strictness",)


@pytest.mark.parametrize(
    "module",
    [
        "embed_tokens",
        "model.embed_tokens",
        "lm_head",
        "transformer.wte",
        "embed_in",
        "embed_out",
        "tok_embeddings",
        "word_embeddings",
        "output_layer",
    ],
)
def test_an_adapter_on_the_embedding_or_the_output_layer_is_refused(module: str) -> None:
    message = f"target_modules names {module}, an embedding or output layer"
    with pytest.raises(ValidationError, match=re.escape(message)):
        trial(lora={"target_modules": ["q_proj", module]})


@pytest.mark.parametrize("module", ["o_proj", "out_proj", "c_attn", "layers.1.self_attn.q_proj"])
def test_an_adapter_on_any_layer_of_a_block_is_taken(module: str) -> None:
    assert trial(lora={"target_modules": [module]}).lora.target_modules == (module,)
