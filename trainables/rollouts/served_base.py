"""The base that a vLLM server serves: the trainer's own weights, dequantized.

vLLM would quantize for itself, with other numbers, or not at all. So the NF4 base is written once
as a plain model folder into the cache, in the precision that trials compute in.
"""

import logging
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock

from strictune.cache import writable_cache_folder
from strictune.config import ComputeDtype
from strictune.config.naming import short_model_name
from trainables.models import ModelSource, load_tokenizer
from trainables.rollouts.merged import load_for_generation

__all__ = ["ServedBase", "export_base"]

logger = logging.getLogger(__name__)

REVISION_CHARS = 12


class ServedBase(NamedTuple):
    """A base as its trials hold it."""

    source: ModelSource
    quantization: Literal["nf4", "none"]
    dtype: ComputeDtype

    @property
    def name(self) -> str:
        """What the server calls it; another revision or precision has another name."""
        revision = self.source.revision[:REVISION_CHARS]
        return f"{short_model_name(self.source.name)}-{self.quantization}-{self.dtype}-{revision}"

    @property
    def location(self) -> str:
        """What ``vllm serve`` is given: a folder, or a hub id."""
        if self.quantization == "none":
            return self.source.location
        return str(writable_cache_folder("served") / self.name)


def export_base(base: ServedBase) -> str:
    """Write the folder that is served, unless it is there, and return where it is.

    Of several processes one writes, and the others wait.

    Raises:
        TrialError: The base cannot be loaded.
        StorageError: The cache cannot be written.
    """
    if base.quantization == "none":
        return base.location
    target = Path(base.location)
    with FileLock(target.with_name(f"{target.name}.lock")):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                model = load_for_generation(
                    base.source,
                    adapter=None,
                    quantization=base.quantization,
                    dtype=base.dtype,
                    weights="merged",
                )
                written = Path(work) / "base"
                model.save_pretrained(written)
                load_tokenizer(base.source).save_pretrained(written)
                written.rename(target)
            logger.info("wrote the dequantized base %s", target)
    return str(target)
