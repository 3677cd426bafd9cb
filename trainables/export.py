"""A trial's adapter as a folder for others: merged into its base, or as it is.

Merging happens in float32 on the unquantized base and is rounded once, to what the trial computed
in: added to NF4 weights, an adapter would be stored with their rounding error. Adapters are read
from safetensors only.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from transformers import PreTrainedModel
from transformers import logging as transformers_logging

from strictune.config import ComputeDtype, TrialSpec
from strictune.errors import StorageError, TrialError
from trainables.models import (
    ADAPTER_FILES,
    TORCH_DTYPES,
    ModelSource,
    load_adapter,
    load_base_model,
    load_tokenizer,
    resolve_adapter,
    resolve_model,
)
from trainables.prompting import NO_THOUGHT, apply_template, front_tokens, think_ending
from trainables.special_tokens import GENERATION_FILE, model_file
from trainables.tasks import load_task

__all__ = ["export_trial", "usage_code"]

ADAPTER = Path("adapter") / "final"
"""What the trial's final results were measured with."""


class _UsagePrompt(NamedTuple):
    """The parts of a prompt as the card's code writes them."""

    messages: Sequence[Mapping[str, Any]]
    front: str
    """Special tokens that the tokenizer adds and the template does not write."""
    ending: str


def export_trial(
    run: Path,
    spec: TrialSpec,
    out: Path,
    *,
    dtype: ComputeDtype,
    model_revision: str,
    card: str,
    is_merged: bool,
) -> None:
    """Write a model folder, or an adapter's, with its card; all of it or nothing.

    Args:
        run: The trial's folder.
        spec: The trial.
        out: Where the folder goes; missing or empty.
        dtype: What the trial computed in, and a merged model is stored in.
        model_revision: The revision of the base that was trained.
        card: ``README.md``.
        is_merged: Merge the adapter into its base.

    Raises:
        TrialError: The adapter or its base cannot be used, or the base is another one now.
        StorageError: ``out`` is not empty or cannot be written.
    """
    adapter = resolve_adapter(run / ADAPTER)
    _check_free(out)
    base = _base(spec, model_revision=model_revision) if is_merged else None
    merged = None if base is None else _merge(base, adapter, dtype=dtype)
    with _folder_in_one_piece(out) as folder:
        if base is None or merged is None:
            _write_adapter(spec, adapter, folder)
        else:
            merged.save_pretrained(folder)
            _keep_generation_defaults(base, folder)
            load_tokenizer(base).save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")


def usage_code(spec: TrialSpec, *, dtype: ComputeDtype, is_merged: bool) -> str:
    """Return code that loads the exported folder and answers the task's first prompt.

    Its ids are those of the trained prompt: what the base's template and tokenizer need for that
    is written out. Where the base is not to be had, it is the code for a template of no habits.
    """
    prompt = _usage_prompt(spec)
    listed = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in prompt.messages)
    front = f"{prompt.front!r} + " if prompt.front else ""
    ending = f" + {prompt.ending!r}" if prompt.ending else ""
    if prompt.ending == NO_THOUGHT:
        ending = ".rstrip()" + ending
    thinking = f"enable_thinking={spec.thinking}"
    load = (
        'model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        if is_merged
        else f"base = {json.dumps(spec.model)}  # or a folder\n"
        f'base_model = AutoModelForCausalLM.from_pretrained(base, dtype="{dtype}")\n'
        "model = PeftModel.from_pretrained(base_model, folder)\n"
        "tokenizer = AutoTokenizer.from_pretrained(base)\n"
    )
    return (
        ("" if is_merged else "from peft import PeftModel\n")
        + "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'folder = "."  # this folder\n'
        f"{load}"
        f"messages = [\n{listed}]\n"
        f"text = {front}tokenizer.apply_chat_template(\n"
        f"    messages, tokenize=False, add_generation_prompt=True, {thinking}\n"
        f"){ending}\n"
        'inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")\n'
        f"output = model.generate(**inputs, max_new_tokens={spec.max_evaluation_tokens})\n"
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))\n'
    )


def _usage_prompt(spec: TrialSpec) -> _UsagePrompt:
    task, thinking = load_task(spec.task), spec.thinking
    messages = task.messages(task.prompts(spec.evaluation.final_split)[0], thinking=thinking)
    try:
        base = resolve_model(spec.model, trust_remote_code=spec.trust_remote_code)
        tokenizer = load_tokenizer(base)
        taken, text = apply_template(tokenizer, messages, thinking=thinking)
    except TrialError:
        return _UsagePrompt(messages, front="", ending=think_ending("", thinking=thinking))
    front = front_tokens(tokenizer)
    return _UsagePrompt(
        taken,
        front="" if text.startswith(front) else front,
        ending=think_ending(text, thinking=thinking),
    )


def _base(spec: TrialSpec, *, model_revision: str) -> ModelSource:
    source = resolve_model(spec.model, trust_remote_code=spec.trust_remote_code)
    if source.revision != model_revision:
        raise TrialError(
            f"model {spec.model!r} is not the one that was trained: its revision is "
            f"{source.revision}, the trial's {model_revision}. Bring that revision back, or "
            "export the adapter without --merge."
        )
    return source


def _merge(base: ModelSource, adapter: ModelSource, *, dtype: ComputeDtype) -> PreTrainedModel:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    model = load_base_model(base, quantization="none", dtype="float32")
    adapted = load_adapter(model, adapter)
    _refuse_tied_embedding(adapted)
    merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    return merged.to(TORCH_DTYPES[dtype])


def _refuse_tied_embedding(adapted: PeftModel) -> None:
    """Refuse an adapter on one side of a matrix that is the embedding and the output layer."""
    sides = (adapted.get_input_embeddings(), adapted.get_output_embeddings())
    is_adapted = any(isinstance(side, BaseTunerLayer | AuxiliaryTrainingWrapper) for side in sides)
    if is_adapted and adapted.config.get_text_config().tie_word_embeddings:
        raise TrialError(
            "the adapter changes the embedding, which is the output layer of this model as well "
            "(tie_word_embeddings): merged, it would be another model. Export without --merge."
        )


def _keep_generation_defaults(base: ModelSource, folder: Path) -> None:
    """Give the folder the base's own generation defaults, which measuring leaves aside."""
    own = model_file(base.location, GENERATION_FILE)
    if own is not None:
        shutil.copyfile(own, folder / GENERATION_FILE)


def _write_adapter(spec: TrialSpec, adapter: ModelSource, folder: Path) -> None:
    """Copy the adapter; its base is named as the sweep file does, not by a folder of ours."""
    for name in ADAPTER_FILES:
        shutil.copyfile(Path(adapter.location) / name, folder / name)
    path = folder / "adapter_config.json"
    config: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    named = {**config, "base_model_name_or_path": spec.model}
    path.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def _check_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(
            f"--out {out}: is not empty; an export never replaces anything. Remove it, or choose "
            "another folder."
        )


@contextmanager
def _folder_in_one_piece(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` that takes its place when all went well."""
    beside = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        if out.exists():
            out.rmdir()
        beside.rename(out)
    except OSError as error:
        raise StorageError(f"--out {out}: cannot be written ({error}).") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
