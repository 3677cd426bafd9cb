"""The first guess at times, held against the few that were measured."""

from typing import Any, NamedTuple

import pytest
from cost_fakes import trials_of

from strictune import cost_guess
from strictune.cost_guess import LAUNCH_S, LAUNCHES_A_LAYER, guess_step
from trainables.memory.architecture import find_architecture

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
PUBLISHED = {
    "max_completion_length": 1024,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
}


class Guess(NamedTuple):
    step_s: float
    evaluation_s: float


def guess(*, device: Any = "cuda", dtype: Any = "bfloat16", **changes: Any) -> Guess:
    [trial] = trials_of(**changes)
    found = guess_step(trial, find_architecture(trial.model), device=device, dtype=dtype)
    assert found.step_s is not None
    assert found.evaluation_s is not None
    return Guess(found.step_s, found.evaluation_s)


def test_a_small_model_on_a_gpu_waits_for_the_host() -> None:
    step_s = guess(model=SMOLLM, grpo=PUBLISHED).step_s
    decoding_s = 1024 * 30 * LAUNCHES_A_LAYER * LAUNCH_S
    assert 20 * 0.9 < decoding_s < step_s < 1.3 * decoding_s
    # Four times as many completions at once take about as long to generate.
    wider = PUBLISHED | {"per_device_train_batch_size": 4}
    assert guess(model=SMOLLM, grpo=wider).step_s < 1.3 * step_s


def test_long_prompts_of_a_large_model_wait_for_the_gpu() -> None:
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 64}
    short, long = (
        guess(
            model="Qwen/Qwen3-4B", grpo=PUBLISHED | batch | {"max_completion_length": tokens}
        ).step_s
        for tokens in (1024, 7168)
    )
    assert 4 < long / short < 7


@pytest.mark.parametrize(("batch_size", "batches"), [(5000, 1), (24, 5), (23, 6), (1, 120)])
def test_an_evaluation_on_a_gpu_takes_its_batches(batch_size: int, batches: int) -> None:
    evaluation = {"num_prompts_per_difficulty": 40, "samples_per_prompt": 1, "max_new_tokens": 100}
    found = guess(model=SMOLLM, evaluation=evaluation | {"batch_size": batch_size})
    one = 100 * 30 * LAUNCHES_A_LAYER * LAUNCH_S
    # One evaluation of the stage and one of the final split.
    assert found.evaluation_s == pytest.approx(2 * batches * one)


@pytest.mark.parametrize(
    ("model", "grpo", "dtype", "seconds"),
    [
        # Steps of the quickstart, and of smollm2_cpu on a processor with bfloat16.
        pytest.param(
            "builtin:tiny",
            {"per_device_train_batch_size": 32, "max_completion_length": 160},
            "float32",
            8.9,
            id="tiny",
        ),
        pytest.param(
            SMOLLM,
            {"per_device_train_batch_size": 16, "max_completion_length": 96},
            "bfloat16",
            30.0,
            id="smollm2",
        ),
    ],
)
def test_a_step_on_a_cpu_is_guessed_within_a_factor_of_three(
    monkeypatch: pytest.MonkeyPatch, model: str, grpo: dict[str, Any], dtype: Any, seconds: float
) -> None:
    monkeypatch.setattr(cost_guess, "cpu_has_bfloat16", lambda: True)
    step_s = guess(device="cpu", dtype=dtype, model=model, grpo=grpo).step_s
    assert seconds / 3 < step_s < 3 * seconds


def test_a_processor_that_emulates_bfloat16_is_slow_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_guess, "cpu_has_bfloat16", lambda: False)
    emulated = guess(device="cpu", dtype="bfloat16").step_s
    assert emulated > 3 * guess(device="cpu", dtype="float32").step_s


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_supervised_steps_generate_nothing(device: Any) -> None:
    grpo = {"beta": 0.0, "per_device_train_batch_size": 8}
    sampled = guess(device=device, grpo=grpo)
    gold = guess(device=device, grpo=grpo, method="sft", sft={"per_device_train_batch_size": 8})
    assert 0 < gold.step_s < sampled.step_s


def test_a_step_of_a_warm_start_is_the_mean_of_its_methods() -> None:
    blocks = {"grpo": {"max_steps": 16}, "sft": {"per_device_train_batch_size": 8}}
    sampled, gold, warm = (
        guess(**blocks, **changes).step_s
        for changes in ({}, {"method": "sft"}, {"curriculum": "warm_start"})
    )
    # 4 of 16 steps are supervised.
    assert warm == pytest.approx((4 * gold + 12 * sampled) / 16)


def test_passes_over_one_batch_share_its_generation() -> None:
    once, twice = (
        guess(model=SMOLLM, grpo=PUBLISHED | {"num_iterations": count}).step_s for count in (1, 2)
    )
    assert 0.5 < twice / once < 0.6


@pytest.mark.parametrize(("device", "least"), [("cuda", 0.5), ("cpu", 1.0)])
def test_steps_that_generate_together_share_what_a_larger_batch_costs_no_more(
    device: Any, least: float
) -> None:
    """A decoding GPU waits for the host, a CPU computes each token."""
    one, two = (
        guess(model=SMOLLM, device=device, grpo=PUBLISHED | {"steps_per_generation": steps}).step_s
        for steps in (8, 16)
    )
    assert two / one == pytest.approx(least, abs=0.1)
