"""What the commands that build the tiny models share: texts, saving, measuring, refusing."""

import argparse
import json
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from strictune.config import SamplingSpec
from trainables.builtin import BUILTIN_MODELS
from trainables.evaluation.suite import evaluate_suite
from trainables.models import load_base_model, load_tokenizer, resolve_model
from trainables.tasks.task import Prompt, Task
from trainables.tiny.warm_up import DrawExample, WarmUp

__all__ = ["example_texts", "measure_model", "run_build", "save_model"]

NUM_TOKENIZER_TEXTS = 8000


def example_texts(prompts: Sequence[Prompt], settings: WarmUp, draw: DrawExample) -> list[str]:
    """Return what the tokenizer learns from: prompts with their completions."""
    rng = random.Random(settings.seed)
    examples = [
        draw(prompt, rng, sloppy_frac=settings.sloppy_frac)
        for prompt in prompts[:NUM_TOKENIZER_TEXTS]
    ]
    return [
        "\n".join([*(message["content"] for message in example.messages), example.completion])
        for example in examples
    ]


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write model and tokenizer into a folder; the model itself becomes bfloat16 too."""
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    # Without indentation: it is data, and would be a tenth of the repository's lines.
    path = out / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


def measure_model(
    folder: Path, task: Task, *, thinking: bool, sampling: SamplingSpec
) -> dict[str, Any]:
    """Return the summary of the model on the validation split, as sweeps would load it."""
    source = resolve_model(str(folder))
    result = evaluate_suite(
        load_base_model(source, quantization="nf4", dtype="bfloat16"),
        load_tokenizer(source),
        task=task,
        prompts=task.prompts("validation"),
        split="validation",
        thinking=thinking,
        sampling=sampling,
    )
    return result.summary()


def run_build(
    build: Callable[[Path], bool],
    *,
    model: str,
    module: str,
    about: str | None,
    criterion: str,
    allowed: tuple[float, float],
) -> int:
    """Run a command that builds a model; 0 if ``build`` calls it fit for its quickstart.

    Args:
        build: Writes the model into a folder and says whether it is fit.
        model: Its name among the built-in ones; names the folder that ``--out`` replaces.
        module: What ``python -m`` is given.
        about: The command's description.
        criterion: The criterion that decides.
        allowed: Between which Pass@1 it is fit.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--out", type=Path, default=BUILTIN_MODELS[model].folder)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if build(args.out):
        return 0
    low, high = (100 * bound for bound in allowed)
    logging.getLogger(module).error(
        "%s Pass@1 is outside %.0f%% to %.0f%%; change PHASES", criterion, low, high
    )
    return 1
