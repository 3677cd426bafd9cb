import json
import shutil
from pathlib import Path

import pytest
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from trainables.builtin import BUILTIN_MODELS
from trainables.memory.architecture import (
    PUBLISHED,
    WITHOUT_SDPA,
    Architecture,
    config_file,
    find_architecture,
    parse_architecture,
)

TINY = BUILTIN_MODELS["builtin:tiny"].folder


@pytest.mark.parametrize(
    ("model", "millions"),
    [
        # Parameters as the models' GPUs give them, norms and biases included.
        pytest.param("HuggingFaceTB/SmolLM2-135M-Instruct", 134.5, id="smollm2-135m"),
        pytest.param("HuggingFaceTB/SmolLM2-360M-Instruct", 361.8, id="smollm2-360m"),
        pytest.param("Qwen/Qwen2.5-0.5B-Instruct", 494.0, id="qwen2.5-0.5b"),
        pytest.param("Qwen/Qwen3-0.6B", 596.0, id="qwen3-0.6b"),
        pytest.param("Qwen/Qwen3-1.7B", 1720.6, id="qwen3-1.7b"),
        pytest.param("Qwen/Qwen3-4B", 4022.5, id="qwen3-4b"),
        pytest.param("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1100.0, id="tinyllama-1.1b"),
        pytest.param("google/gemma-2-2b-it", 2614.3, id="gemma-2-2b"),
    ],
)
def test_the_table_adds_up_to_the_published_number_of_parameters(
    model: str, millions: float
) -> None:
    architecture = PUBLISHED[model]
    counted = architecture.num_linear_params + architecture.num_embedding_params
    assert counted / 1e6 == pytest.approx(millions, rel=1e-3)


def test_a_config_file_gives_the_parameters_of_its_model() -> None:
    architecture = find_architecture("builtin:tiny")
    assert architecture is not None
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(TINY))
    counted = sum(
        parameter.numel() for name, parameter in model.named_parameters() if "norm" not in name
    )
    assert architecture.num_linear_params + architecture.num_embedding_params == counted


def test_linear_shapes_are_those_of_the_modules() -> None:
    architecture = find_architecture("builtin:tiny")
    assert architecture is not None
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(TINY))
    layer = dict(model.model.layers[0].named_modules())
    for name, (inputs, outputs) in architecture.linear_shapes.items():
        block = "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
        module = layer[f"{block}.{name}"]
        assert (module.in_features, module.out_features) == (inputs, outputs)


def test_a_local_folder_is_read(tmp_path: Path) -> None:
    shutil.copy(TINY / "config.json", tmp_path / "config.json")
    assert config_file(str(tmp_path)) == tmp_path / "config.json"
    assert find_architecture(str(tmp_path)) == find_architecture("builtin:tiny")


def test_a_hub_model_is_read_from_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--model"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    shutil.copy(TINY / "config.json", repository / "snapshots" / "abc" / "config.json")
    assert find_architecture("someone/model") == find_architecture("builtin:tiny")


@pytest.mark.parametrize("name", ["someone/absent", "no such: name", "package:absent"])
def test_a_model_that_is_nowhere_has_no_architecture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_architecture(name) is None


CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


def parsed(**changes: object) -> Architecture | None:
    return parse_architecture(json.loads(json.dumps(CONFIG | changes)))


def test_what_a_config_leaves_out_is_its_class_default() -> None:
    found = parsed()
    assert found is not None
    assert (found.num_kv_heads, found.head_dim, found.ties_embeddings) == (4, 16, False)
    gemma = parsed(model_type="gemma2", head_dim=32)
    assert gemma is not None
    assert (gemma.head_dim, gemma.ties_embeddings) == (32, True)


def test_a_multimodal_config_gives_its_language_part() -> None:
    assert parse_architecture({"text_config": CONFIG, "vision_config": {}}) == parsed()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({**CONFIG, "num_local_experts": 8}, id="experts"),
        pytest.param({"model_type": "gpt2", "n_embd": 768}, id="another-shape"),
    ],
)
def test_what_the_formulas_do_not_cover_is_unknown(config: dict[str, object]) -> None:
    assert parse_architecture(config) is None


@pytest.mark.parametrize(
    "model_type",
    [*WITHOUT_SDPA, "llama", "qwen2", "qwen3", "mistral", "phi3", "gemma", "gemma3_text"],
)
def test_fused_attention_is_counted_where_transformers_has_it(model_type: str) -> None:
    model = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type])
    found = parsed(model_type=model_type)
    assert found is not None
    assert found.has_sdpa is model._supports_sdpa


def test_gemma_2_of_the_table_has_no_fused_attention() -> None:
    without = [name for name, found in PUBLISHED.items() if not found.has_sdpa]
    assert without == ["google/gemma-2-2b-it"]
