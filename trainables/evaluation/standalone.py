"""Evaluates any model on any suite, outside a sweep.

A run that is cut off stays in its folder without an outcome and is not resumed.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from transformers import logging as transformers_logging

from strictune.config import Dtype, SamplingSpec, dump_yaml
from strictune.config.base import Spec
from strictune.config.naming import short_model_name
from strictune.errors import StorageError
from trainables.evaluation.keys import measurement_keys
from trainables.evaluation.measurement import Measurement
from trainables.evaluation.recording import record_measurement
from trainables.evaluation.suite import SuiteResult
from trainables.evaluation.suite_source import load_suite, suite_name
from trainables.models import resolve_adapter, resolve_model
from trainables.precision import resolve_dtype
from trainables.tasks import TaskSettings, load_task
from trainables.tasks.selection import select_prompts

__all__ = ["Evaluation", "EvaluationRequest", "evaluate_model", "evaluation_name", "open_folder"]

_UNSAFE = re.compile(r"[^a-z0-9.]+")


class EvaluationRequest(Spec):
    """One evaluation, fully resolved; ``evaluation.yaml`` of its folder."""

    model: Annotated[str, Field(min_length=1)]
    """Hub id, local folder, ``package:smollm2-135m`` or ``builtin:tiny``."""
    adapter: str | None = None
    """Folder of an adapter in PEFT's format, in safetensors."""
    suite: Annotated[str, Field(min_length=1)]
    """``<task>:<split>``, an outside suite's ``<name>`` or ``<name>:<part>``, or a file in the
    format of the task's suites."""
    task: TaskSettings
    """Whose split it is, or who reads and scores the file."""
    thinking: bool = False
    """Ask for a think block before the answer; the prompt opens it."""
    quantization: Literal["nf4", "none"] = "nf4"
    """Storage of the base weights: 4-bit NormalFloat with double quantization, or as they are."""
    dtype: Dtype = "auto"
    """Precision of the computation, and of base weights that are not quantized; see a trial's."""
    sampling: SamplingSpec = SamplingSpec()
    """Samples and decoding."""
    constrain: bool = False
    """Decode under the grammar of each prompt's right answers, behind the think block."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longer prompts are dropped from outside suites and refused elsewhere; null is the task's
    limit."""


class Evaluation(NamedTuple):
    """The result of an evaluation."""

    result: SuiteResult
    dropped: Mapping[str, int]
    """How many entries of a suite from outside could not be used, by reason."""


def evaluate_model(
    request: EvaluationRequest,
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a model and leave a run's folder, which ``strictune compare`` reads.

    Args:
        request: What to measure.
        folder: Where results go; made if missing.
        on_progress: Told how many completions of how many there are.

    Raises:
        SpecError: The suite cannot be used, or the task has no grammars.
        TrialError: The model or the adapter cannot be, or a prompt is too long for the task.
        StorageError: The folder is not empty.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    task = load_task(request.task)
    model = resolve_model(request.model)
    max_prompt_tokens = request.max_prompt_tokens or task.max_prompt_tokens
    suite = load_suite(
        request.suite,
        task=task,
        model=model,
        thinking=request.thinking,
        max_prompt_tokens=max_prompt_tokens,
    )
    prompts = select_prompts(
        suite.prompts, per_difficulty=request.sampling.num_prompts_per_difficulty
    )
    measurement = Measurement(
        task=task,
        prompts=prompts,
        split=suite.name,
        data=suite.data,
        model=model,
        adapter=resolve_adapter(Path(request.adapter)) if request.adapter else None,
        quantization=request.quantization,
        dtype=resolve_dtype(request.dtype, quantization=request.quantization),
        thinking=request.thinking,
        sampling=request.sampling,
        max_prompt_tokens=max_prompt_tokens,
        answer_grammars=(tuple(map(task.answer_grammar, prompts)) if request.constrain else None),
    )
    keys = measurement_keys(measurement)
    open_folder(folder)
    (folder / "evaluation.yaml").write_text(dump_yaml(request), encoding="utf-8")
    adapter = measurement.adapter
    facts = {
        "task": task.kind,
        "primary_criterion": task.primary_criterion,
        "adapter": None if adapter is None else adapter.name,
        "adapter_revision": None if adapter is None else adapter.revision,
        "dropped_prompts": dict(suite.dropped),
    }
    result = record_measurement(measurement, keys, folder, facts=facts, on_progress=on_progress)
    return Evaluation(result, suite.dropped)


def evaluation_name(request: EvaluationRequest) -> str:
    """Return a folder name for an evaluation, e.g. ``smollm2-135m-no-think-test``."""
    parts = (
        short_model_name(request.model),
        "adapter" if request.adapter else "",
        "think" if request.thinking else "no-think",
        "constrained" if request.constrain else "",
        suite_name(request.suite),
    )
    return _UNSAFE.sub("-", "-".join(filter(None, parts)).lower()).strip("-.")


def open_folder(folder: Path) -> None:
    """Make the folder of an evaluation.

    Raises:
        StorageError: It holds something, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_occupied = any(folder.iterdir())
    except OSError as error:
        raise StorageError(f"{folder}: cannot be used as a folder ({error}).") from error
    if is_occupied:
        raise StorageError(
            f"{folder} is not empty; an evaluation never replaces another one. Remove it, or "
            "choose another folder."
        )
