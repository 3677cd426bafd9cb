"""The first guess at times, held against the few that were measured."""

from typing import Any

import pytest
from cost_fakes import trials_of

from strictune import cost_guess
from strictune.config import TrialSpec
from strictune.cost_guess import LAUNCH_S, LAUNCHES_A_LAYER, GuessedTimes, guess_times
from trainables.memory.architecture import find_architecture

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
PUBLISHED = {
    "max_completion_length": 1024,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
}


def guess(
    *, device: Any = "cuda", dtype: Any = "bfloat16", num_evaluated: int = 0, **changes: Any
) -> GuessedTimes:
    [trial] = trials_of(**changes)
    return guess_trial(trial, device=device, dtype=dtype, num_evaluated=num_evaluated)


def guess_trial(trial: TrialSpec, **how: Any) -> GuessedTimes:
    architecture = find_architecture(trial.model)
    assert architecture is not None
    return guess_times(trial, architecture, prompt_tokens=512, **how)


def test_a_small_model_on_a_card_waits_for_the_host() -> None:
    step_s = guess(model=SMOLLM, grpo=PUBLISHED).step_s
    decoding_s = 1024 * 30 * LAUNCHES_A_LAYER * LAUNCH_S
    assert 20 * 0.9 < decoding_s < step_s < 1.3 * decoding_s
    # Four times as many completions at once take about as long to generate.
    wider = PUBLISHED | {"per_device_train_batch_size": 4}
    assert guess(model=SMOLLM, grpo=wider).step_s < 1.3 * step_s


def test_long_prompts_of_a_large_model_wait_for_the_card() -> None:
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 64}
    [trial] = trials_of(model="Qwen/Qwen3-4B", grpo=PUBLISHED | batch)
    architecture = find_architecture(trial.model)
    assert architecture is not None
    how: dict[str, Any] = {"device": "cuda", "dtype": "bfloat16", "num_evaluated": 0}
    short, long = (
        guess_times(trial, architecture, prompt_tokens=tokens, **how).step_s
        for tokens in (1024, 7168)
    )
    assert 2.5 < long / short < 4


@pytest.mark.parametrize(
    ("num_evaluated", "batches"),
    [(0, 0), (1, 1), (32, 1), (33, 2), (320, 10)],
)
def test_an_evaluation_on_a_card_takes_its_batches(num_evaluated: int, batches: int) -> None:
    found = guess(model=SMOLLM, num_evaluated=num_evaluated)
    one = 512 * 30 * LAUNCHES_A_LAYER * LAUNCH_S
    assert found.evaluation_s == pytest.approx(batches * one)


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


def test_passes_over_one_batch_share_its_generation() -> None:
    once, twice = (
        guess(model=SMOLLM, grpo=PUBLISHED | {"num_iterations": count}).step_s for count in (1, 2)
    )
    assert 0.5 < twice / once < 0.6
