"""What vLLM is told, and where it is refused; the generation itself is in the contract."""

import copy
import importlib.util
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from trl import GRPOConfig

from strictune.config import LoraSpec, TrialSpec
from strictune.errors import TrialError
from trainables.evaluation.keys import comparison_keys
from trainables.models import load_base_model, lora_config, resolve_model
from trainables.rollouts import vllm_engine
from trainables.rollouts.vllm_engine import VllmRollouts, keep_base_exact
from trainables.trial import train_trial


def trial(**vllm: Any) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "task": {"kind": "strict_json", "num_train_prompts": 60, "num_eval_prompts": 12},
            "model": "builtin:tiny",
            "quantization": "none",
            "grpo": {"max_steps": 1, "max_completion_length": 100},
            "rollouts": {"engine": "vllm", "vllm": vllm or None},
        }
    )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a GPU, with vLLM installed."""
    pretend_a_gpu(monkeypatch)


def pretend_a_gpu(patch: pytest.MonkeyPatch, *, has_vllm: bool = True) -> None:
    find_spec = importlib.util.find_spec

    def find(name: str, *parts: Any) -> object:
        # Others remember what they are told here, so only this one answer is made up.
        return (object() if has_vllm else None) if name == "vllm" else find_spec(name, *parts)

    patch.setattr(vllm_engine, "stop_growing_segments", lambda: None)
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: 0.25)
    patch.setattr(importlib.util, "find_spec", find)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(
            {},
            {
                "vllm_mode": "colocate",
                "vllm_gpu_memory_utilization": pytest.approx(0.1),
                "vllm_max_model_length": 160,
                "vllm_enable_sleep_mode": False,
            },
            id="colocate",
        ),
        pytest.param(
            {"memory_frac": 0.6, "max_model_length": 4096, "enable_sleep_mode": True},
            {
                "vllm_mode": "colocate",
                "vllm_gpu_memory_utilization": pytest.approx(0.15),
                "vllm_max_model_length": 4096,
                "vllm_enable_sleep_mode": True,
            },
            id="colocate-given",
        ),
        pytest.param(
            {"mode": "server"},
            {"vllm_mode": "server", "vllm_server_host": "127.0.0.1"},
            id="server",
        ),
        pytest.param(
            {"mode": "server", "server_host": "node7", "server_port": 9000, "group_port": 51300},
            {
                "vllm_mode": "server",
                "vllm_server_host": "node7",
                "vllm_server_port": 9000,
                "vllm_group_port": 51300,
            },
            id="server-given",
        ),
    ],
)
def test_trl_is_told_the_mode_and_its_options_alone(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    arguments = VllmRollouts(trial(**options), max_prompt_tokens=60).arguments()
    assert arguments == {"use_vllm": True, **expected}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("sleeps", "stopped"), [(True, 1), (False, 0)])
def test_growing_segments_are_stopped_before_vllm_starts_with_sleep_mode(
    monkeypatch: pytest.MonkeyPatch, *, sleeps: bool, stopped: int
) -> None:
    stops: list[None] = []
    monkeypatch.setattr(vllm_engine, "stop_growing_segments", lambda: stops.append(None))
    VllmRollouts(trial(enable_sleep_mode=sleeps), max_prompt_tokens=60)
    assert len(stops) == stopped


@pytest.mark.parametrize("options", [{"memory_frac": 0.6}, {"mode": "server", "group_port": 1}])
def test_trl_knows_the_arguments(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        pretend_a_gpu(patch)
        arguments = VllmRollouts(trial(**options), max_prompt_tokens=60).arguments()
    assert GRPOConfig(str(tmp_path), use_cpu=True, report_to="none", **arguments).use_vllm


@pytest.mark.usefixtures("gpu")
def test_a_length_below_the_longest_completion_is_refused() -> None:
    with pytest.raises(TrialError, match=r"max_model_length = 159, but .* 60 .* 100 make 160:"):
        VllmRollouts(trial(max_model_length=159), max_prompt_tokens=60)


def test_a_missing_vllm_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_a_gpu(monkeypatch, has_vllm=False)
    with pytest.raises(TrialError, match=r"not installed.* pip install 'trl\[vllm\]'\. Or set"):
        VllmRollouts(trial(), max_prompt_tokens=60)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_trial_fails_with_the_ways_out(tmp_path: Path) -> None:
    outcome = train_trial(trial(), folder=tmp_path)
    assert outcome.state == "FAILED"
    assert outcome.reason == (
        "rollouts.engine = vllm: it needs an NVIDIA GPU, and this process sees none. Run where "
        "there is one, with resources.gpus_per_trial above 0. Or set trial.rollouts.engine to "
        "transformers or continuous_batching."
    )


@pytest.fixture(scope="module")
def model() -> PeftModel:
    """A base in bfloat16 with an adapter that has learned something."""
    torch.set_num_threads(1)
    source = resolve_model("builtin:tiny")
    base = load_base_model(source, quantization="none", dtype="bfloat16")
    return get_peft_model(base, lora_config(LoraSpec()))


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_base_stays_what_it_was_however_often_the_adapter_is_merged(
    model: PeftModel, is_kept: bool
) -> None:
    model = copy.deepcopy(model)
    before = base_weights(model)
    if is_kept:
        keep_base_exact(model)
    torch.manual_seed(0)
    for _ in range(3):
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=1e-2)
        model.merge_adapter()
        assert any(not torch.equal(before[name], now) for name, now in base_weights(model).items())
        model.unmerge_adapter()
    drifted = [name for name, now in base_weights(model).items() if not before[name].equal(now)]
    assert bool(drifted) is not is_kept


def base_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    named = model.named_parameters()
    return {name: value.detach().clone() for name, value in named if ".base_layer." in name}


@pytest.mark.usefixtures("gpu")
def test_the_trials_seed_replaces_vllms(model: PeftModel) -> None:
    """vLLM seeds the process that it starts in with 0."""
    trainer: Any = SimpleNamespace(model=copy.deepcopy(model))
    draws = []
    for seed in (3, 3, 4):
        spec = trial().model_copy(update={"seed": seed})
        random.seed(0)
        VllmRollouts(spec, max_prompt_tokens=60).settle(trainer)
        draws.append((random.random(), torch.rand(1).item()))
    assert draws[0] == draws[1] != draws[2]


def test_engines_share_baselines_and_evaluation_keys() -> None:
    served = comparison_keys(trial(mode="server"), dtype="bfloat16")
    plain = trial().model_copy(update={"rollouts": type(trial().rollouts)()})
    assert served == comparison_keys(plain, dtype="bfloat16")
    assert served.evaluation["engine"] == "transformers"
