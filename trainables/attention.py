"""The attention that models are loaded with.

An attention other than the sweep file's would give other numbers, so what cannot be had is
refused, never replaced. transformers would fetch a flash attention that is not installed from
the model hub, as compiled code.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers.utils import (
    is_flash_attn_2_available,
    is_flash_attn_3_available,
    is_flash_attn_4_available,
)

from strictune.config import Attention, ComputeDtype
from strictune.errors import TrialError

__all__ = ["attention_obstacle", "default_attention", "refusing_attention"]

INSTALLED = {
    "flash_attention_2": is_flash_attn_2_available,
    "flash_attention_3": is_flash_attn_3_available,
    "flash_attention_4": is_flash_attn_4_available,
}
ALLOWED = "eager works with every model, null takes what suits model and device."


def default_attention() -> Attention | None:
    """Return the attention where none was chosen; None leaves it to transformers."""
    # On CPU in bfloat16 fused attention decodes slower than the plain one (SmolLM2-135M, 16
    # sequences: 90 against 74 ms a token).
    return None if torch.cuda.is_available() else "eager"


@contextmanager
def refusing_attention(
    model: str, chosen: Attention | None, *, dtype: ComputeDtype
) -> Iterator[None]:
    """Say what to do where a model cannot be loaded with the attention that was chosen.

    Raises:
        TrialError: It is not installed, not for this device or precision, or the model has none.
    """
    obstacle = attention_obstacle(chosen, dtype)
    if obstacle is not None:
        raise TrialError(f"trial.attn_implementation = {chosen}, but {obstacle} {ALLOWED}")
    try:
        yield
    except (ImportError, ValueError) as error:
        if chosen is None or not _is_about_attention(str(error)):
            raise
        raise TrialError(
            f"trial.attn_implementation = {chosen}, but model {model!r} has none in transformers. "
            f"{ALLOWED}"
        ) from error


def attention_obstacle(chosen: Attention | None, dtype: ComputeDtype) -> str | None:
    """Return why this process cannot compute a kind of attention; None if it can."""
    if chosen not in INSTALLED:
        return None
    if not torch.cuda.is_available():
        return "it needs an NVIDIA GPU, and this process sees none."
    if not INSTALLED[chosen]():
        return "it is not installed here: install the flash-attn that goes with this torch."
    if dtype == "float32":
        return "this trial computes in float32, and it only in bfloat16 and float16."
    return None


def _is_about_attention(text: str) -> bool:
    return "does not support" in text and "attention" in text.lower()
