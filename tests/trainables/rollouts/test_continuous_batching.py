"""What is particular to continuous batching: the faults of TRL's use of it, and its memory."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tiny_llama import save_random_llama
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager
from trl import GRPOConfig

from strictune.config import LoraSpec, TrialSpec
from strictune.errors import TrialError
from trainables.models import load_base_model, load_tokenizer, lora_config, resolve_model
from trainables.rollouts.continuous_batching import ContinuousBatchingRollouts, generate_all

SIZES = {"page_size": 64, "num_blocks": 32, "max_batch_tokens": 64, "max_memory_percent": 0.9}
PROMPTS = [[5 + index, 6, 7] for index in range(16)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    torch.set_num_threads(1)
    source = resolve_model(str(save_random_llama(tmp_path_factory.mktemp("llama"))))
    model = load_base_model(source, quantization="none", dtype="float32")
    model.generation_config.pad_token_id = load_tokenizer(source).pad_token_id
    return model


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep the library's report of an error that a test provokes off the terminal."""
    logger = logging.getLogger("ContinuousBatchingLogger")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def generate(model: PreTrainedModel, *, seed: int = 0) -> list[list[int]]:
    torch.manual_seed(seed)
    outputs = generate_all(
        model,
        PROMPTS,
        generation_config=GenerationConfig(
            max_new_tokens=6, do_sample=True, top_k=0, eos_token_id=[-1]
        ),
        continuous_batching_config=ContinuousBatchingConfig(**SIZES),
        progress_bar=False,
    )
    return [output.generated_tokens for output in outputs.values()]


def trial(model: str = "builtin:tiny", *, weights: str = "merged", **grpo: Any) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "task": {"kind": "strict_json"},
            "model": model,
            "grpo": {"max_steps": 1, "max_completion_length": 100, **grpo},
            "rollouts": {"engine": "continuous_batching", "weights": weights},
        }
    )


def test_draws_do_not_depend_on_how_fast_prompts_come_in(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = generate(model)
    add_request = ContinuousBatchingManager.add_request

    def add_late(self: ContinuousBatchingManager, *args: Any, **kwargs: Any) -> Any:
        if self.is_running():
            self._generation_thread.join(0.05)
        return add_request(self, *args, **kwargs)

    monkeypatch.setattr(ContinuousBatchingManager, "add_request", add_late)
    assert generate(model) == expected
    assert generate(model, seed=1) != expected


def test_the_model_can_be_trained_afterwards(model: PreTrainedModel) -> None:
    before = model.config._attn_implementation
    generate(model)
    assert model.config._attn_implementation == before
    ids = torch.tensor([[5, 6, 7]])
    assert torch.isfinite(model(input_ids=ids, labels=ids).loss)


def test_completions_come_from_a_merged_copy_or_through_the_adapter(model: PreTrainedModel) -> None:
    adapted = get_peft_model(copy.deepcopy(model), lora_config(LoraSpec()))
    base, used = adapted.get_base_model(), []
    base.model.layers[0].register_forward_pre_hook(lambda *_: used.append(None))
    written = {}
    for weights in ("merged", "adapter"):
        engine = ContinuousBatchingRollouts(trial(weights=weights), max_prompt_tokens=60)
        engine.settle(SimpleNamespace(model=adapted, args=SimpleNamespace(bf16=True)))  # type: ignore[arg-type]
        torch.manual_seed(0)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_()
        outputs = base.generate_batch(
            PROMPTS,
            generation_config=GenerationConfig(max_new_tokens=6, do_sample=False, eos_token_id=-1),
            continuous_batching_config=ContinuousBatchingConfig(**SIZES, return_logprobs=True),
        )
        written[weights] = [output.generated_tokens for output in outputs.values()]
        assert bool(used) is (weights == "adapter")
        logps = torch.tensor(engine.logps)
        assert logps.shape == (len(PROMPTS), 6)
        assert (logps < 0).all()
    assert written["merged"] == written["adapter"]


@pytest.mark.usefixtures("quiet")
def test_a_lack_of_memory_is_raised_and_no_short_completion_returned(
    model: PreTrainedModel,
) -> None:
    calls = []

    def fail_at_the_third(*_: Any) -> None:
        calls.append(None)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = model.model.layers[0].register_forward_pre_hook(fail_at_the_third)
    try:
        with pytest.raises(torch.OutOfMemoryError, match=r"CUDA out of memory\."):
            generate(model)
    finally:
        hook.remove()
    assert len(generate(model)) == len(PROMPTS)


@pytest.mark.usefixtures("quiet")
def test_one_failed_request_fails_the_step(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_result = ContinuousBatchingManager.get_result

    def with_an_error(self: ContinuousBatchingManager, **kwargs: Any) -> Any:
        output = get_result(self, **kwargs)
        if output is not None and output.request_id == "req_3":
            output.error = "no room for it"
        return output

    monkeypatch.setattr(ContinuousBatchingManager, "get_result", with_an_error)
    with pytest.raises(TrialError, match=r"lost 1 of 16 completions: no room for it\. Set"):
        generate(model)


def test_the_cache_is_sized_by_the_work_and_not_by_the_machine() -> None:
    engine = ContinuousBatchingRollouts(
        trial(per_device_train_batch_size=16, gradient_accumulation_steps=2), max_prompt_tokens=60
    )
    sizes = engine.arguments()["transformers_continuous_batching_config"]
    # 160 tokens of each of 32 completions are 3 pages of 64.
    assert (sizes["num_blocks"], sizes["page_size"]) == (96, 64)
    assert sizes["max_requests_per_batch"] == 32
    assert sizes["max_batch_tokens"] == 512


def test_every_completion_of_a_large_step_gets_a_token_a_pass() -> None:
    engine = ContinuousBatchingRollouts(
        trial(per_device_train_batch_size=1024), max_prompt_tokens=60
    )
    sizes = engine.arguments()["transformers_continuous_batching_config"]
    assert sizes["max_batch_tokens"] == 1024


def test_flash_attention_gets_pages_of_its_size_and_graphs_their_settings() -> None:
    graphs = {"use_cuda_graph": True, "kv_padding_interval_size": 4096}
    changed = trial(per_device_train_batch_size=16).model_dump(mode="json") | {
        "attn_implementation": "flash_attention_2",
        "rollouts": {"engine": "continuous_batching", "continuous_batching": graphs},
    }
    engine = ContinuousBatchingRollouts(TrialSpec.model_validate(changed), max_prompt_tokens=200)
    sizes = engine.arguments()["transformers_continuous_batching_config"]
    # 300 tokens of each of 16 completions are 2 pages of 256.
    assert (sizes["num_blocks"], sizes["page_size"]) == (32, 256)
    assert sizes.items() >= graphs.items()
    assert "q_padding_interval_size" not in sizes
    ContinuousBatchingConfig(**sizes)


def test_the_cache_holds_all_completions_that_are_generated_together() -> None:
    engine = ContinuousBatchingRollouts(
        trial(per_device_train_batch_size=16, steps_per_generation=3), max_prompt_tokens=60
    )
    sizes = engine.arguments()["transformers_continuous_batching_config"]
    assert (sizes["num_blocks"], sizes["max_requests_per_batch"]) == (144, 48)


def test_trl_takes_the_arguments(tmp_path: Path) -> None:
    arguments = ContinuousBatchingRollouts(trial(), max_prompt_tokens=60).arguments()
    config = GRPOConfig(str(tmp_path), use_cpu=True, report_to="none", **arguments)
    assert config.use_transformers_continuous_batching
    ContinuousBatchingConfig(**config.transformers_continuous_batching_config)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_capped_attention_scores_are_refused_where_they_would_be_left_out(attention: str) -> None:
    text_config = SimpleNamespace(attn_logit_softcapping=50.0, _attn_implementation=attention)
    base = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text_config))
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(get_base_model=lambda: base), args=SimpleNamespace(bf16=True)
    )
    spec = trial("google/gemma-2-2b-it", weights="adapter")
    engine = ContinuousBatchingRollouts(spec, max_prompt_tokens=60)
    if attention == "sdpa":
        engine.settle(trainer)
        assert not trainer.args.bf16
    else:
        with pytest.raises(TrialError, match=r"gemma-2-2b-it' caps its attention scores") as told:
            engine.settle(trainer)
        # It is as eager on a GPU.
        assert "CPU" not in str(told.value)
        assert "on a GPU, trial.attn_implementation to flash_attention_2" in str(told.value)
