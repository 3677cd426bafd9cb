"""Builds a tiny model from its recipe: tokenizer, warm-up, measurement, card."""

import argparse
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from strictune.config import SamplingSpec
from trainables.builtin import BUILTIN_MODELS
from trainables.evaluation.suite import evaluate_suite
from trainables.models import load_base_model, load_tokenizer, resolve_model
from trainables.rollouts.transformers_engine import TransformersEngine
from trainables.tasks.task import Prompt, Task
from trainables.tiny.warm_up import DrawExample, WarmUp, new_model, warm_up

__all__ = ["Recipe", "build", "run_build"]

NUM_TOKENIZER_TEXTS = 8000
VOCABULARY_SIZE = 960
END = "<|im_end|>"
START = "<|im_start|>"
PAD = "<|pad|>"

# Runs of letters, single digits, runs of spaces, single marks, fences in one piece.
PIECES = r" ?\p{L}+|\p{N}|`{3}|\n +| ?[^\s\p{L}\p{N}]|\s+"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{START}{{{{ message['role'] }}}}\n{{{{ message['content'] }}}}{END}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    f"{START}assistant\n"
    "{% endif %}"
)

PHASE_HEAD = """\
| phase | steps | tokens | minutes on two cores | flawed answers | factor on the learning rates |
|---|---|---|---|---|---|"""

Summaries = Mapping[bool, Mapping[str, Any]]
"""The summary of an evaluation, without and with thinking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The training data of a tiny model, and the rates that it must reach."""

    model: str
    """Its name among the built-in ones, which also names its folder."""
    draw_prompts: Callable[[], Sequence[Prompt]]
    draw_example: DrawExample
    phases: tuple[WarmUp, ...]
    task: Task
    """Measures it, on the validation split."""
    modes: tuple[bool, ...]
    """With and without thinking."""
    sampling: SamplingSpec
    criterion: str
    allowed: tuple[float, float]
    """Pass@1 of the criterion that a sweep can start from; nearer to the ends there is little to
    see."""
    card: Callable[[Summaries], Mapping[str, object]]
    """Returns what fills the card's template in, besides ``parameters`` and ``phases``."""
    card_template: str


def run_build(recipe: Recipe, *, module: str, about: str | None) -> int:
    """Run the command that builds a model; 0 if it is fit for its quickstart.

    Args:
        recipe: The model's.
        module: What ``python -m`` is given.
        about: The command's description.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--out", type=Path, default=BUILTIN_MODELS[recipe.model].folder)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if build(recipe, args.out):
        return 0
    low, high = (100 * bound for bound in recipe.allowed)
    logging.getLogger(module).error(
        "%s Pass@1 is outside %.0f%% to %.0f%%; change the phases", recipe.criterion, low, high
    )
    return 1


def build(recipe: Recipe, out: Path) -> bool:
    """Train, measure and write the model; return whether its rates are in range."""
    prompts = recipe.draw_prompts()
    tokenizer = _train_tokenizer(_example_texts(prompts, recipe))
    model = new_model(tokenizer)
    efforts = [
        warm_up(model, tokenizer, prompts, phase, draw=recipe.draw_example)
        for phase in recipe.phases
    ]
    _save(model, tokenizer, out)
    summaries = {thinking: _measure(out, recipe, thinking=thinking) for thinking in recipe.modes}
    card = recipe.card_template.format(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        phases=_phase_table(recipe.phases, efforts),
        **recipe.card(summaries),
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    low, high = recipe.allowed
    rates = [summary["criteria"][recipe.criterion] for summary in summaries.values()]
    return all(low <= rate <= high for rate in rates)


def _example_texts(prompts: Sequence[Prompt], recipe: Recipe) -> list[str]:
    """Return what the tokenizer learns from: prompts with their completions."""
    first = recipe.phases[0]
    rng = random.Random(first.seed)
    examples = [
        recipe.draw_example(prompt, rng, sloppy_frac=first.sloppy_frac)
        for prompt in prompts[:NUM_TOKENIZER_TEXTS]
    ]
    return [
        "\n".join([*(message["content"] for message in example.messages), example.completion])
        for example in examples
    ]


def _train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE from the model's training texts, with a ChatML template.

    Digits stay single, so that counts and ranges are read digit by digit, and a key between quotes
    has the same tokens in the instruction and in the answer, so that writing it is copying.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Ordinary text to the scorer, but one token each for the model.
    tokenizer.add_tokens(
        [AddedToken(tag, normalized=False, special=False) for tag in ("<think>", "</think>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=1024,
    )


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write model and tokenizer into a folder; the model itself becomes bfloat16 too."""
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    # Without indentation: it is data, and would be a tenth of the repository's lines.
    path = out / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


def _measure(folder: Path, recipe: Recipe, *, thinking: bool) -> dict[str, Any]:
    """Return the summary of the model on the validation split, as sweeps would load it."""
    source = resolve_model(str(folder))
    model = load_base_model(source, quantization="nf4", dtype="bfloat16")
    tokenizer = load_tokenizer(source)
    result = evaluate_suite(
        TransformersEngine(model, tokenizer, batch_size=recipe.sampling.batch_size),
        tokenizer,
        task=recipe.task,
        prompts=recipe.task.prompts("validation"),
        split="validation",
        thinking=thinking,
        sampling=recipe.sampling,
    )
    return result.summary()


def _phase_table(phases: Sequence[WarmUp], efforts: Sequence[Mapping[str, float]]) -> str:
    """Return how a model was warmed up, and what that took, as a Markdown table."""
    rows = [PHASE_HEAD]
    for number, (phase, effort) in enumerate(zip(phases, efforts, strict=True), start=1):
        flawed = f"{phase.sloppy_frac:.0%}"
        if phase.sloppy_from:
            flawed += f" in the last {1 - phase.sloppy_from:.0%} of the steps"
        tokens, minutes = f"{effort['tokens'] / 1e6:.1f}M", f"{effort['minutes']:.0f}"
        cells = (number, phase.num_steps, tokens, minutes, flawed, phase.peak)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)
