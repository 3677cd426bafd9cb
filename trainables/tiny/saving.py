"""Writes a tiny model the way it is committed: bfloat16, and a vocabulary on one line."""

import json
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["save_model"]


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write model and tokenizer into a folder; the model itself becomes bfloat16 too."""
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    # Without indentation: it is data, and would be a tenth of the repository's lines.
    path = out / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
