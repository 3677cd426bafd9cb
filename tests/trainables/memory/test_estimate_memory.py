from dataclasses import replace
from typing import Any

import pytest

from strictune.config import TrialSpec
from trainables.memory.architecture import PUBLISHED, find_architecture
from trainables.memory.estimate import (
    LOGITS_TILE_VOCAB,
    NF4_BYTES,
    Estimate,
    estimate_memory,
    workload_of,
)

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
GIB = 2**30


def trial(model: str = SMOLLM, **changes: Any) -> TrialSpec:
    grpo = {"max_steps": 1, "max_completion_length": 1024, "per_device_train_batch_size": 1}
    grpo |= {"gradient_accumulation_steps": 8} | changes.pop("grpo", {})
    return TrialSpec.model_validate(
        {"model": model, "task": {"kind": "strict_json"}, "grpo": grpo, **changes}
    )


def guess(spec: TrialSpec, *, device: Any = "cuda") -> Estimate:
    architecture = find_architecture(spec.model)
    assert architecture is not None
    return estimate_memory(
        spec,
        architecture,
        workload_of(spec, device=device, dtype="bfloat16", max_prompt_tokens=512),
    )


def test_double_quantization_costs_an_eighth_of_a_bit() -> None:
    bits = (NF4_BYTES - 0.5) * 8
    assert bits == pytest.approx(0.127, abs=0.001)


def test_four_bits_are_for_the_linear_modules_only() -> None:
    architecture = PUBLISHED[SMOLLM]
    largest = 576 * 1536 * 2
    whole = guess(trial(quantization="none")).terms["weights"] * GIB
    packed = guess(trial(quantization="nf4")).terms["weights"] * GIB
    assert whole == 2 * 134_479_872
    assert packed - largest == pytest.approx(
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
    assert guess(spec).terms["adapter"] * GIB == pytest.approx(num_params * bytes_each)


def test_activations_grow_with_the_micro_batch_and_not_with_accumulation() -> None:
    one = guess(trial()).terms["training"]
    two = guess(trial(grpo={"per_device_train_batch_size": 2})).terms["training"]
    accumulated = guess(trial(grpo={"gradient_accumulation_steps": 16})).terms["training"]
    assert 1.8 < two / one < 2.2
    assert accumulated == one


def test_checkpointing_keeps_one_layer_at_a_time_on_a_card_only() -> None:
    def training(device: str, *, checkpointing: bool) -> float:
        spec = trial(grpo={"gradient_checkpointing": checkpointing})
        return guess(spec, device=device).terms["training"]

    assert training("cuda", checkpointing=True) < 0.3 * training("cuda", checkpointing=False)
    assert training("cpu", checkpointing=True) == training("cpu", checkpointing=False)


def test_logits_beyond_a_tile_are_never_held() -> None:
    spec = trial(grpo={"gradient_checkpointing": False})
    workload = workload_of(spec, device="cpu", dtype="bfloat16", max_prompt_tokens=512)

    def training(vocab: int) -> float:
        architecture = replace(PUBLISHED[SMOLLM], vocab=vocab)
        return estimate_memory(spec, architecture, workload).terms["training"]

    assert training(1024) < training(LOGITS_TILE_VOCAB) == training(256_000)


def test_the_cache_grows_with_the_batch_that_is_generated_together() -> None:
    half = guess(trial(grpo={"gradient_accumulation_steps": 8})).terms["rollout"]
    full = guess(trial(grpo={"gradient_accumulation_steps": 16})).terms["rollout"]
    assert full == pytest.approx(2 * half)
    few = guess(trial(evaluation={"batch_size": 8})).terms["evaluation"]
    many = guess(trial(evaluation={"batch_size": 64})).terms["evaluation"]
    assert many == pytest.approx(8 * few)


def test_supervised_training_generates_only_in_evaluations() -> None:
    supervised = guess(trial(method="sft", sft={"per_device_train_batch_size": 4}))
    learned = guess(trial(grpo={"per_device_train_batch_size": 4}))
    assert supervised.terms["rollout"] == 0 < learned.terms["rollout"]
    for name in ("weights", "training", "evaluation"):
        assert supervised.terms[name] == learned.terms[name]


def test_thinking_makes_completions_and_so_the_cache_longer() -> None:
    plain = guess(trial(grpo={"max_think_length": 512}))
    thinking = guess(trial(grpo={"max_think_length": 512}, thinking=True))
    assert thinking.terms["rollout"] > plain.terms["rollout"]


def test_a_reference_adds_nothing() -> None:
    assert guess(trial(grpo={"beta": 0.04})) == guess(trial(grpo={"beta": 0.0}))


def test_the_peak_is_what_is_always_held_and_the_largest_of_the_rest() -> None:
    terms = {"weights": 1, "adapter": 2, "process": 4, "rollout": 8, "training": 3, "evaluation": 5}
    assert Estimate(terms=terms).peak_gib == 1 + 2 + 4 + 8


GEMMA = "google/gemma-2-2b-it"


def test_generation_holds_a_plain_copy_of_all_weights_and_training_does_not() -> None:
    found = guess(trial())
    assert found.copy_gib * GIB == 2 * 134_479_872
    longest = max(found.terms["rollout"], found.terms["evaluation"]) + found.copy_gib
    always = found.terms["weights"] + found.terms["adapter"] + found.terms["process"]
    assert found.peak_gib == pytest.approx(always + max(longest, found.terms["training"]))


def test_without_the_copy_nothing_is_counted_for_it() -> None:
    spec = trial()
    workload = workload_of(spec, device="cuda", dtype="bfloat16", max_prompt_tokens=512)
    plain = replace(workload, is_merged_copy=False)
    assert estimate_memory(spec, PUBLISHED[SMOLLM], plain).copy_gib == 0


def test_scores_are_counted_where_a_card_computes_them_one_by_one() -> None:
    def training(model: str, attention: str | None) -> float:
        return guess(trial(model, attn_implementation=attention)).terms["training"]

    # Gemma 2 has no fused attention; the others have unless it is refused.
    assert training(GEMMA, None) == training(GEMMA, "eager")
    assert training(GEMMA, "flash_attention_2") < training(GEMMA, None)
    assert training(SMOLLM, None) == training(SMOLLM, "sdpa") < training(SMOLLM, "eager")


def test_a_processor_computes_scores_one_by_one_unless_told_otherwise() -> None:
    def training(attention: str | None) -> float:
        return guess(trial(attn_implementation=attention), device="cpu").terms["training"]

    assert training("sdpa") < training(None) == training("eager")
