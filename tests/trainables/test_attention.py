"""Which attention models are loaded with, and what is said where it cannot be had."""

from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from strictune.config import TrialSpec
from strictune.config.identity import identity_of
from strictune.errors import TrialError
from trainables import attention
from trainables.attention import default_attention, refusing_attention
from trainables.evaluation.keys import comparison_keys
from trainables.models import load_base_model, resolve_model


def trial(**changes: Any) -> TrialSpec:
    base: dict[str, Any] = {
        "model": "builtin:tiny",
        "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
        "grpo": {"max_steps": 10},
    }
    return TrialSpec.model_validate(base | changes)


def attention_of(model: str, chosen: Any) -> str:
    loaded = load_base_model(
        resolve_model(model), quantization="none", dtype="float32", attn_implementation=chosen
    )
    return str(loaded.config._attn_implementation)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model of Gemma 2's kind, with random weights."""
    folder = tmp_path_factory.mktemp("gemma")
    config = Gemma2Config(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        vocab_size=32,
    )
    Gemma2ForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("chosen", "expected"), [(None, "eager"), ("eager", "eager"), ("sdpa", "sdpa")]
)
def test_a_model_gets_the_attention_that_was_chosen(chosen: str | None, expected: str) -> None:
    assert attention_of("builtin:tiny", chosen) == expected


def test_nobody_chooses_for_transformers_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_attention() == "eager"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert default_attention() is None


def test_a_model_without_fused_attention_is_refused_with_it(gemma: str) -> None:
    with pytest.raises(TrialError) as told:
        attention_of(gemma, "sdpa")
    assert str(told.value) == (
        f"trial.attn_implementation = sdpa, but model {gemma!r} has none in transformers. eager "
        "works with every model, null takes what suits model and device."
    )
    assert attention_of(gemma, None) == "eager"


@pytest.mark.parametrize("version", [2, 3, 4])
def test_flash_attention_is_refused_without_a_gpu(version: int) -> None:
    chosen = f"flash_attention_{version}"
    with pytest.raises(TrialError, match=rf"{chosen}, but it needs an NVIDIA GPU.* null takes"):
        attention_of("builtin:tiny", chosen)


@pytest.mark.parametrize(
    ("is_installed", "dtype", "said"),
    [
        pytest.param(False, "bfloat16", r"it is not installed here", id="not-installed"),
        pytest.param(True, "float32", r"this trial computes in float32", id="precision"),
        pytest.param(True, "bfloat16", None, id="there"),
    ],
)
def test_flash_attention_that_a_gpu_cannot_use_is_refused_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, *, is_installed: bool, dtype: Any, said: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(attention.INSTALLED, "flash_attention_2", lambda: is_installed)
    entered = []

    def load() -> None:
        with refusing_attention("m", "flash_attention_2", dtype=dtype):
            entered.append(True)

    if said is None:
        load()
        return
    with pytest.raises(TrialError, match=said):
        load()
    assert not entered


def test_other_faults_of_loading_are_told_as_they_are() -> None:
    with (
        pytest.raises(ValueError, match="no such file"),
        refusing_attention("m", "sdpa", dtype="float32"),
    ):
        raise ValueError("no such file")


def test_a_name_that_transformers_does_not_know_is_refused_with_those_it_does() -> None:
    with pytest.raises(ValueError, match=r"attn_implementation[\s\S]*'eager', 'sdpa'"):
        trial(attn_implementation="kernels-community/flash-attn")


def test_a_choice_changes_the_trial_and_its_baseline_and_none_changes_nothing() -> None:
    plain, chosen = trial(), trial(attn_implementation="sdpa")
    assert chosen.fingerprint != plain.fingerprint
    assert "attn_implementation" not in identity_of(plain)
    keys = [comparison_keys(spec, dtype="float32") for spec in (plain, chosen)]
    assert "attn_implementation" not in keys[0].baseline
    assert keys[1].baseline["attn_implementation"] == "sdpa"
    assert keys[0].evaluation == keys[1].evaluation
