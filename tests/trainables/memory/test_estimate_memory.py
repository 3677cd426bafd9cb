from dataclasses import replace
from typing import Any

import pytest

from strictune.config import TrialSpec
from trainables.devices import GIB
from trainables.memory.architecture import PUBLISHED, find_architecture
from trainables.memory.estimate import LOGITS_TILE_VOCAB, NF4_BYTES, _Model, estimate_gib

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
GEMMA = "google/gemma-2-2b-it"
PROMPT = 512


def trial(model: str = SMOLLM, **changes: Any) -> TrialSpec:
    grpo = {"max_steps": 1, "max_completion_length": 1024, "per_device_train_batch_size": 1}
    grpo |= {"gradient_accumulation_steps": 8} | changes.pop("grpo", {})
    return TrialSpec.model_validate(
        {"model": model, "task": {"kind": "strict_json"}, "grpo": grpo, **changes}
    )


def part(spec: TrialSpec, *, device: Any = "cuda", vocab: int | None = None) -> _Model:
    """Return the terms of the estimate, in bfloat16."""
    architecture = find_architecture(spec.model)
    assert architecture is not None
    if vocab is not None:
        architecture = replace(architecture, vocab=vocab)
    return _Model(architecture, spec, device, 2)


def training(spec: TrialSpec, **where: Any) -> float:
    return part(spec, **where).training(PROMPT + spec.max_completion_tokens)


def guess(spec: TrialSpec, *, device: Any = "cuda") -> float:
    architecture = find_architecture(spec.model)
    assert architecture is not None
    return estimate_gib(
        spec, architecture, device=device, dtype="bfloat16", max_prompt_tokens=PROMPT
    )


def test_double_quantization_costs_an_eighth_of_a_bit() -> None:
    assert pytest.approx(0.127, abs=0.001) == (NF4_BYTES - 0.5) * 8


def test_four_bits_are_for_the_linear_modules_only() -> None:
    architecture = PUBLISHED[SMOLLM]
    largest = 576 * 1536 * 2
    assert part(trial(quantization="none")).weights() == 2 * 134_479_872
    assert part(trial(quantization="nf4")).weights() - largest == pytest.approx(
        architecture.num_linear_params * NF4_BYTES + architecture.num_embedding_params * 2
    )


@pytest.mark.parametrize(
    ("optim", "bytes_each"),
    [("adamw_torch", 16), ("paged_adamw_8bit", 10), ("adafactor", 8), ("sgd", 8)],
)
def test_the_adapter_counts_weights_gradients_and_optimizer_states(
    optim: str, bytes_each: int
) -> None:
    spec = trial(lora={"r": 8, "target_modules": ["q_proj", "down_proj"]}, grpo={"optim": optim})
    num_params = 30 * 8 * ((576 + 576) + (1536 + 576))
    assert part(spec).adapter() == pytest.approx(num_params * bytes_each)


def test_activations_grow_with_the_micro_batch_and_not_with_accumulation() -> None:
    one = training(trial())
    assert 1.8 < training(trial(grpo={"per_device_train_batch_size": 2})) / one < 2.2
    assert training(trial(grpo={"gradient_accumulation_steps": 16})) == one


def test_checkpointing_keeps_one_layer_at_a_time_on_a_gpu_only() -> None:
    on, off = (trial(grpo={"gradient_checkpointing": value}) for value in (True, False))
    assert training(on) < 0.3 * training(off)
    assert training(on, device="cpu") == training(off, device="cpu")


def test_logits_beyond_a_tile_are_never_held() -> None:
    spec = trial(grpo={"gradient_checkpointing": False})
    few, tile, many = (
        training(spec, device="cpu", vocab=vocab) for vocab in (1024, LOGITS_TILE_VOCAB, 256_000)
    )
    assert few < tile == many


def test_the_cache_grows_with_the_batch_that_is_generated_together() -> None:
    model = part(trial())
    one, eight = (model.generation(batch, PROMPT, 1024, sorts=False) for batch in (8, 64))
    assert eight == pytest.approx(8 * one)
    assert model.generation(8, PROMPT, 1024, sorts=True) > one


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        pytest.param(
            {"grpo": {"gradient_accumulation_steps": 64}},
            {"grpo": {"gradient_accumulation_steps": 128}},
            id="completions-of-a-step",
        ),
        pytest.param(
            {"grpo": {"gradient_accumulation_steps": 64}},
            {"grpo": {"gradient_accumulation_steps": 64, "steps_per_generation": 128}},
            id="steps-generated-together",
        ),
        pytest.param(
            {"evaluation": {"batch_size": 256}},
            {"evaluation": {"batch_size": 512}},
            id="evaluation",
        ),
        pytest.param(
            {"grpo": {"max_think_length": 512, "gradient_accumulation_steps": 64}},
            {
                "grpo": {"max_think_length": 512, "gradient_accumulation_steps": 64},
                "thinking": True,
            },
            id="thinking",
        ),
        pytest.param(
            {"rollouts": {"weights": "adapter"}}, {"rollouts": {"weights": "merged"}}, id="copy"
        ),
    ],
)
def test_what_is_generated_decides_the_peak(
    smaller: dict[str, Any], larger: dict[str, Any]
) -> None:
    assert guess(trial(**smaller)) < guess(trial(**larger))


def test_supervised_training_generates_only_in_evaluations() -> None:
    grpo = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 64}
    sft = {"per_device_train_batch_size": 4}
    supervised, sampled = trial(method="sft", sft=sft, grpo=grpo), trial(grpo=grpo)
    assert guess(supervised) < guess(sampled)
    assert training(supervised) == training(sampled)


def test_a_reference_adds_nothing_unless_it_is_kept() -> None:
    base, kept = ({"beta": 0.04, "kl_reference": name} for name in ("base", "stage_start"))
    assert guess(trial(grpo=base)) == guess(trial(grpo={"beta": 0.0}))
    assert guess(trial(grpo=kept)) > guess(trial(grpo=base))
    assert guess(trial(grpo=kept | {"beta": 0.0})) == guess(trial(grpo=base))


def test_a_warm_start_takes_what_its_larger_method_takes() -> None:
    large, steps = {"per_device_train_batch_size": 64}, {"max_steps": 8}
    for blocks in ({"sft": large, "grpo": steps}, {"grpo": large | steps}):
        alone = [guess(trial(method=method, **blocks)) for method in ("sft", "grpo")]
        assert guess(trial(curriculum="warm_start", **blocks)) == max(alone)


def test_the_peak_is_what_is_always_held_and_the_largest_of_the_rest() -> None:
    sft = {"per_device_train_batch_size": 64, "gradient_checkpointing": False}
    spec = trial(method="sft", sft=sft, evaluation={"batch_size": 1})
    model = part(spec)
    held = (model.weights() + model.adapter() + training(spec)) / GIB
    assert guess(spec) == pytest.approx(held + 0.5)


def test_scores_are_counted_where_a_gpu_computes_them_one_by_one() -> None:
    # Gemma 2 has no fused attention; the others have unless it is refused.
    default, eager, fused = (
        training(trial(GEMMA, attn_implementation=attention))
        for attention in (None, "eager", "flash_attention_2")
    )
    assert fused < default == eager
    default, eager, fused = (
        training(trial(attn_implementation=attention)) for attention in (None, "eager", "sdpa")
    )
    assert default == fused < eager


def test_a_processor_computes_scores_one_by_one_unless_told_otherwise() -> None:
    default, eager, fused = (
        training(trial(attn_implementation=attention), device="cpu")
        for attention in (None, "eager", "sdpa")
    )
    assert fused < default == eager
