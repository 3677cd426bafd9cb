"""The sizes of a decoder that determine its memory, read without loading the model.

They come from the model's ``config.json`` where its files are on this machine, else from a
table of the models that the shipped sweeps name. Dense decoders of Llama's shape only: for
others the answer is that nothing is known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strictune.cache import cache_folder
from trainables.builtin import BUILTIN_MODELS

__all__ = ["PUBLISHED", "Architecture", "config_file", "find_architecture", "parse_architecture"]

PACKAGE_PREFIX = "package:"
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
WITHOUT_SDPA = ("gemma2", "granite_swa", "vaultgemma")
"""Model types whose classes in transformers have no fused attention of torch's
(``_supports_sdpa``): they compute their scores one by one on a GPU too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A dense decoder with gated feed-forward layers."""

    hidden: int
    intermediate: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab: int
    ties_embeddings: bool
    """The output layer is the embedding, so its weights exist once."""
    has_sdpa: bool = True
    """transformers uses torch's fused attention by default."""

    @property
    def query_width(self) -> int:
        """Width of all query heads of a layer."""
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads of a layer; of all value heads too."""
        return self.num_kv_heads * self.head_dim

    @property
    def linear_shapes(self) -> Mapping[str, tuple[int, int]]:
        """Inputs and outputs of the linear modules of one layer, by their usual names."""
        return {
            "q_proj": (self.hidden, self.query_width),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (self.query_width, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def num_linear_params(self) -> int:
        """Weights of the linear modules of all layers: what NF4 stores in four bits."""
        one_layer = sum(inputs * outputs for inputs, outputs in self.linear_shapes.values())
        return self.num_layers * one_layer

    @property
    def num_embedding_params(self) -> int:
        """Weights of the embedding and of an output layer of its own."""
        return self.vocab * self.hidden * (1 if self.ties_embeddings else 2)


def _published(
    sizes: tuple[int, int, int],
    heads: tuple[int, int, int],
    vocab: int,
    *,
    ties: bool = True,
    has_sdpa: bool = True,
) -> Architecture:
    hidden, intermediate, num_layers = sizes
    num_heads, num_kv_heads, head_dim = heads
    return Architecture(
        hidden=hidden,
        intermediate=intermediate,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        ties_embeddings=ties,
        has_sdpa=has_sdpa,
    )


PUBLISHED: Mapping[str, Architecture] = {
    # (hidden, intermediate, layers), (heads, kv heads, head width), vocabulary; from each
    # model's public config.json.
    "HuggingFaceTB/SmolLM2-135M-Instruct": _published((576, 1536, 30), (9, 3, 64), 49152),
    "HuggingFaceTB/SmolLM2-360M-Instruct": _published((960, 2560, 32), (15, 5, 64), 49152),
    "Qwen/Qwen2.5-0.5B-Instruct": _published((896, 4864, 24), (14, 2, 64), 151936),
    "Qwen/Qwen3-0.6B": _published((1024, 3072, 28), (16, 8, 128), 151936),
    "Qwen/Qwen3-1.7B": _published((2048, 6144, 28), (16, 8, 128), 151936),
    "Qwen/Qwen3-4B": _published((2560, 9728, 36), (32, 8, 128), 151936),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": _published(
        (2048, 5632, 22), (32, 4, 64), 32000, ties=False
    ),
    "google/gemma-2-2b-it": _published((2304, 9216, 26), (8, 4, 256), 256000, has_sdpa=False),
    "package:smollm2-135m": _published((576, 1536, 30), (9, 3, 64), 49152),
}


def find_architecture(name: str) -> Architecture | None:
    """Return the architecture of a model, or None where it is not known on this machine."""
    path = config_file(name)
    if path is None:
        return PUBLISHED.get(name)
    return parse_architecture(json.loads(path.read_text(encoding="utf-8")))


def config_file(name: str) -> Path | None:
    """Return a model's ``config.json`` if it is on this machine; downloads nothing."""
    if name in BUILTIN_MODELS:
        folder = BUILTIN_MODELS[name].folder
    elif name.startswith(PACKAGE_PREFIX):
        folder = cache_folder() / "models" / name.removeprefix(PACKAGE_PREFIX)
    elif (local := Path(name).expanduser()).is_dir():
        folder = local
    else:
        return _cached_hub_file(name)
    path = folder / "config.json"
    return path if path.is_file() else None


def parse_architecture(config: Mapping[str, Any]) -> Architecture | None:
    """Read a ``config.json``; None for what the formulas do not cover."""
    config = config.get("text_config", config)
    try:
        hidden, num_heads = config["hidden_size"], config["num_attention_heads"]
        architecture = Architecture(
            hidden=hidden,
            intermediate=config["intermediate_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=num_heads,
            num_kv_heads=config.get("num_key_value_heads", num_heads),
            head_dim=config.get("head_dim") or hidden // num_heads,
            vocab=config["vocab_size"],
            ties_embeddings=config.get("tie_word_embeddings", _ties_by_default(config)),
            has_sdpa=config.get("model_type") not in WITHOUT_SDPA,
        )
    except KeyError:
        return None
    return None if any(config.get(key) for key in EXPERTS) else architecture


def _ties_by_default(config: Mapping[str, Any]) -> bool:
    # A config.json leaves out what is its class's default; Gemma's classes tie.
    return str(config.get("model_type", "")).startswith("gemma")


def _cached_hub_file(name: str) -> Path | None:
    # Imported here: it takes longer than all else that the command line loads.
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
