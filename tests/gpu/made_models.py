"""Models and prompts made on the spot: memory and speed do not depend on what a model has learned.

A published model gets its own sizes, random weights, and the tokenizer of builtin:tiny with as
many words as the model has. Nothing is downloaded.

    python tests/gpu/made_models.py Qwen/Qwen2.5-0.5B-Instruct FOLDER cpu
"""

import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from trainables.builtin import BUILTIN_MODELS
from trainables.memory.architecture import PUBLISHED, Architecture
from trainables.prompting import render_prompt
from trainables.tasks.task import Attempt, Prompt, Score, Split, Task

__all__ = ["StandInTask", "make_model", "published_folder"]

MODEL_TYPES = {
    "HuggingFaceTB/SmolLM2": "llama",
    "package:smollm2": "llama",
    "TinyLlama/": "llama",
    "Qwen/Qwen2.5": "qwen2",
    "Qwen/Qwen3": "qwen3",
    "google/gemma-2-": "gemma2",
}
"""By the beginning of a name in ``PUBLISHED``."""
SEED = 0
NUM_PROMPTS = 300
"""Of each split of the stand-in task."""


def published_folder(name: str, work: Path) -> Path | None:
    """Return the folder below ``work`` for the model ``name``; None for one that is not made."""
    if name not in PUBLISHED or _model_type(name) is None:
        return None
    return work / name.replace("/", "--").replace(":", "--")


def _model_type(name: str) -> str | None:
    return next((kind for start, kind in MODEL_TYPES.items() if name.startswith(start)), None)


def make_model(sizes: Architecture, model_type: str, folder: Path, *, device: str) -> None:
    """Write a model of these sizes with random weights and a tokenizer into a new folder.

    The weights are drawn on ``device``: those of large models take minutes on a CPU.
    """
    tiny = BUILTIN_MODELS["builtin:tiny"].folder
    tokens = json.loads((tiny / "generation_config.json").read_text(encoding="utf-8"))
    config = AutoConfig.for_model(
        model_type,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.num_heads,
        num_key_value_heads=sizes.num_kv_heads,
        head_dim=sizes.head_dim,
        vocab_size=sizes.vocab,
        tie_word_embeddings=sizes.ties_embeddings,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=tokens["eos_token_id"],
        pad_token_id=tokens["pad_token_id"],
    )
    torch.manual_seed(SEED)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    written = folder.with_name(folder.name + ".part")
    model.save_pretrained(written)
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny / name, written / name)
    tokenizer = json.loads((tiny / "tokenizer.json").read_text(encoding="utf-8"))
    _fill_vocabulary(tokenizer, sizes.vocab)
    (written / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    written.rename(folder)


def _fill_vocabulary(tokenizer: dict[str, Any], size: int) -> None:
    """Name every id that the model may draw, so that it can be decoded; no text becomes them."""
    words = tokenizer["model"]["vocab"]
    words.update({token["content"]: token["id"] for token in tokenizer["added_tokens"]})
    taken = set(words.values())
    words.update({f"w{index}": index for index in range(size) if index not in taken})


class StandInTask(Task):
    """Prompts as long as they may be, and random rewards: a task that scores nothing."""

    kind = "strict_json"
    criteria = ("strict",)
    primary_criterion = "strict"
    components: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = ()

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        components: Sequence[str],
        difficulties: Sequence[str],
        max_prompt_tokens: int,
    ) -> None:
        self.components = tuple(components)
        self.difficulties = tuple(difficulties)
        self.max_prompt_tokens = max_prompt_tokens
        self._random = random.Random(SEED)
        one_word = render_prompt(tokenizer, [{"role": "user", "content": "a"}], thinking=False)
        self._num_words = max_prompt_tokens + 1 - len(tokenizer(one_word.text)["input_ids"])

    def prompts(self, split: Split) -> list[Prompt]:
        """Return prompts of one text, each of a family of its own."""
        return [
            Prompt(
                id=f"{split}-{index}",
                text=" ".join("a" * self._num_words),
                family=f"{split}-{index}",
                difficulty=self.difficulties[index % len(self.difficulties)],
            )
            for index in range(NUM_PROMPTS)
        ]

    def score(self, attempt: Attempt, *, thinking: bool) -> Score:
        """Draw a reward."""
        return Score(
            criteria={"strict": False},
            rewards={name: self._random.random() for name in self.components},
            reasons=dict.fromkeys(self.components, "random"),
            error_class="none",
        )


if __name__ == "__main__":
    name, folder, device = sys.argv[1:]
    model_type = _model_type(name)
    assert model_type is not None
    make_model(PUBLISHED[name], model_type, Path(folder), device=device)
