"""Adapters that fit their base are loaded whole; others are refused, never used in part."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_llama import save_random_llama
from torch import Tensor
from transformers import PreTrainedModel

from strictune.errors import TrialError
from trainables.adapters import continue_adapter
from trainables.models import (
    ModelSource,
    load_adapter,
    load_base_model,
    resolve_adapter,
    resolve_model,
)

LORA: dict[str, Any] = {"task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj", "v_proj"]}
SHAPES = {
    "lora": LoraConfig(**LORA),
    "dora": LoraConfig(**LORA, use_dora=True),
    "saved-modules": LoraConfig(**LORA, modules_to_save=["norm"]),
    "one-layer": LoraConfig(**LORA, layers_to_transform=[0]),
    "ranks": LoraConfig(**LORA, rank_pattern={"layers.0.self_attn.q_proj": 1}),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return resolve_model(str(save_random_llama(tmp_path_factory.mktemp("llama"))))


def base(source: ModelSource) -> PreTrainedModel:
    return load_base_model(source, quantization="none", dtype="float32")


def write(source: ModelSource, config: PeftConfig, folder: Path) -> Path:
    """Write an adapter whose every weight has an effect."""
    torch.manual_seed(0)
    model = get_peft_model(base(source), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(source: ModelSource, tmp_path: Path) -> Path:
    return write(source, LoraConfig(**LORA), tmp_path / "adapter")


def change(folder: Path, weights: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(weights(load_file(path)), path)


def configure(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_an_adapter_that_fits_is_loaded_whole(
    source: ModelSource, config: PeftConfig, tmp_path: Path
) -> None:
    folder = write(source, config, tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7]])
    model = load_adapter(base(source), resolve_adapter(folder))
    again = tmp_path / "again"
    model.save_pretrained(again)
    stored = [load_file(path / "adapter_model.safetensors") for path in (folder, again)]
    assert stored[0].keys() == stored[1].keys()
    assert all(torch.equal(stored[0][name], stored[1][name]) for name in stored[0])
    with torch.no_grad():
        assert not torch.allclose(model(ids).logits, base(source)(ids).logits)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        pytest.param(
            lambda found: {k.replace("model.layers", "model.text.layers"): v
                           for k, v in found.items()},
            "8 of 8 of its weights have no place and 8 of 8 that belong there are missing",
            id="names-of-another-wrapper",
        ),
        pytest.param(
            lambda found: {k.removeprefix("base_model.model."): v for k, v in found.items()},
            "8 of 8 of its weights have no place",
            id="names-without-wrapper",
        ),
        pytest.param(
            lambda found: {k: v for k, v in found.items() if ".layers.1." not in k},
            "4 of 8 that belong there are missing",
            id="a-layer-less",
        ),
        pytest.param(
            lambda found: found | {k.replace(".layers.1.", ".layers.2."): v.clone()
                                   for k, v in found.items() if ".layers.1." in k},
            "4 of 12 of its weights have no place",
            id="a-layer-more",
        ),
        pytest.param(
            lambda found: {k: v for k, v in found.items() if "lora_B" not in k},
            "4 of 8 that belong there are missing",
            id="one-factor",
        ),
        pytest.param(lambda found: {}, "8 of 8 that belong there are missing", id="nothing"),
        pytest.param(
            lambda found: {k: v[:, :-1].contiguous() for k, v in found.items()},
            "size mismatch for base_model.*lora_A",
            id="another-width",
        ),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_counted(
    source: ModelSource,
    adapter: Path,
    weights: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    says: str,
) -> None:
    change(adapter, weights)
    with pytest.raises(TrialError, match=rf"does not fit its base: .*{says}"):
        load_adapter(base(source), resolve_adapter(adapter))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"target_modules": ["q_proj"]}, "4 of 8 of its weights", id="fewer-modules"),
        pytest.param(
            {"target_modules": ["q_proj", "k_proj", "v_proj"]}, "4 of 12 that", id="more-modules"
        ),
        pytest.param({"target_modules": ["c_attn"]}, "c_attn.* not found", id="other-modules"),
        pytest.param({"r": 4}, "size mismatch", id="another-rank"),
        pytest.param({"use_dora": True}, "4 of 12 that", id="no-magnitudes"),
        pytest.param({"modules_to_save": ["norm"]}, "there is no .*norm", id="no-saved-modules"),
        pytest.param({"peft_type": "UNKNOWN"}, "there is no 'UNKNOWN'", id="unknown-kind"),
    ],
)
def test_a_config_that_its_weights_do_not_fit_is_refused(
    source: ModelSource, adapter: Path, settings: dict[str, Any], says: str
) -> None:
    configure(adapter, **settings)
    with pytest.raises(TrialError, match=rf"does not fit its base: .*{says}"):
        load_adapter(base(source), resolve_adapter(adapter))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_torn_file_is_refused(source: ModelSource, adapter: Path, name: str) -> None:
    (adapter / name).write_bytes((adapter / name).read_bytes()[:99])
    with pytest.raises(TrialError, match="does not fit its base"):
        load_adapter(base(source), resolve_adapter(adapter))


def test_an_adapter_of_prompts_is_refused(source: ModelSource, tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    folder = write(source, config, tmp_path / "adapter")
    with pytest.raises(TrialError, match=r"of type PROMPT_TUNING.*such as LoRA"):
        load_adapter(base(source), resolve_adapter(folder))


def test_training_goes_on_only_from_a_whole_adapter(source: ModelSource, adapter: Path) -> None:
    model = get_peft_model(base(source), LoraConfig(**LORA))
    continue_adapter(model, adapter)
    change(adapter, lambda found: {k: v for k, v in found.items() if ".layers.1." not in k})
    with pytest.raises(TrialError, match="4 of 8 that belong there are missing"):
        continue_adapter(model, adapter)


@pytest.mark.parametrize(
    ("named", "is_another"),
    [
        pytest.param("Qwen/Qwen3-0.6B", True, id="another"),
        pytest.param("package:smollm2-135m", True, id="another-package"),
        pytest.param("builtin:tiny", True, id="another-builtin"),
        pytest.param("/elsewhere/llama", False, id="the-same-moved"),
        pytest.param("maker/Llama", False, id="the-same-on-a-hub"),
        pytest.param(None, False, id="not-said"),
    ],
)
def test_an_adapter_that_names_another_base_is_used_with_a_warning(
    source: ModelSource,
    adapter: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    named: str | None,
    is_another: bool,
) -> None:
    configure(adapter, base_model_name_or_path=named)
    moved = shutil.copytree(source.location, tmp_path / "llama")
    with caplog.at_level(logging.WARNING, logger="trainables.models"):
        load_adapter(base(resolve_model(str(moved))), resolve_adapter(adapter))
    assert [f"trained on {named!r}" in record.message for record in caplog.records] == [
        True
    ] * is_another


def test_the_name_of_a_builtin_base_is_its_folder(
    source: ModelSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = resolve_model("builtin:tiny")
    adapter = write(tiny, LoraConfig(**LORA), tmp_path / "adapter")
    configure(adapter, base_model_name_or_path="builtin:tiny")
    with caplog.at_level(logging.WARNING, logger="trainables.models"):
        load_adapter(base(tiny), resolve_adapter(adapter))
    assert not caplog.records
