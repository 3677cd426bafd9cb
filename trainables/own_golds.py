"""Gold completions by rejection sampling: the untrained model's own that pass every check.

For supervised training on prompts whose answers nobody has written. A completion is drawn under its
prompt's grammar, sampled as GRPO samples, until one passes or there have been as many as GRPO
draws in a group. The golds of a set of prompts are drawn once for each measurement key and kept in
the user's cache directory, beside the baselines.
"""

import gc
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from strictune.cache import writable_cache_folder
from strictune.config import SamplingSpec, TrialSpec
from strictune.errors import TrialError
from strictune.records import write_json
from trainables.context import TrialContext
from trainables.evaluation.baseline import circumstances
from trainables.evaluation.keys import measurement_keys
from trainables.evaluation.measurement import Measurement
from trainables.evaluation.suite import evaluate_suite, fitting_prompts
from trainables.rollouts.engines import evaluation_engine
from trainables.tasks.task import Prompt

__all__ = ["GOLDS", "own_golds"]

logger = logging.getLogger(__name__)

GOLDS = "golds.json"
"""In the trial's folder: what the trial was trained on, and what drawing it took."""
WAIT_S = 10.0
"""Between two signs of life while another trial draws the same golds."""


def own_golds(context: TrialContext, prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return a gold completion for each prompt that got one, by the prompt's id.

    The first of several ranks draws, logs and records them.

    Raises:
        TrialError: No prompt got one.
    """
    path = context.folder / GOLDS
    if context.ranks.is_first:
        if not path.exists():
            write_json(path, _cached(context, prompts))
        found = json.loads(path.read_text(encoding="utf-8"))
        _record(context, found)
        return context.ranks.from_first(dict(found["golds"]))
    return context.ranks.from_first()


def _cached(context: TrialContext, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Read the golds from the cache, or draw them and put them there."""
    measured = _measurement(context, prompts)
    folder = writable_cache_folder("golds")
    key = measurement_keys(measured).baseline_digest
    path = folder / f"{key}-{circumstances(measured.sampling)}.json"
    with _locked(path.with_suffix(".lock"), context):
        if path.exists():
            logger.info("trial=%s took its golds from %s", context.spec.trial_id, path)
        else:
            write_json(path, _draw(context, measured))
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


@contextmanager
def _locked(path: Path, context: TrialContext) -> Iterator[None]:
    """Hold a lock; whoever waits for it is alive."""
    lock = FileLock(path, timeout=WAIT_S)
    while not lock.is_locked:
        try:
            lock.acquire()
        except Timeout:
            context.beat()
    try:
        yield
    finally:
        lock.release()


def _measurement(context: TrialContext, prompts: Sequence[Prompt]) -> Measurement:
    spec, task = context.spec, context.task
    fitting = fitting_prompts(
        context.tokenizer,
        task=task,
        prompts=prompts,
        thinking=spec.thinking,
        limit=task.max_prompt_tokens,
    )
    return Measurement(
        task=task,
        prompts=fitting,
        split="train",
        data="",  # Part of no key.
        model=context.source,
        quantization=spec.quantization,
        dtype=context.dtype,
        attn_implementation=spec.attn_implementation,
        thinking=spec.thinking,
        sampling=_sampling(spec),
        rollouts=spec.rollouts,
        answer_grammars=tuple(map(task.answer_grammar, fitting)),
    )


def _sampling(spec: TrialSpec) -> SamplingSpec:
    return SamplingSpec(
        samples_per_prompt=spec.grpo.num_generations,
        temperature=spec.grpo.temperature,
        top_p=spec.grpo.top_p,
        max_new_tokens=spec.grpo.max_completion_length,
        max_think_tokens=spec.grpo.max_think_length,
        batch_size=spec.evaluation.batch_size,
        seed=spec.evaluation.seed,
    )


def _draw(context: TrialContext, measured: Measurement) -> dict[str, Any]:
    """Draw one completion for each prompt that has no gold yet, again and again."""
    started, sampling = time.monotonic(), measured.sampling
    engine = evaluation_engine(measured, context.tokenizer)
    passes = f"criterion/{measured.task.criteria[-1]}"
    left = list(zip(measured.prompts, measured.answer_grammars or (), strict=True))
    golds: dict[str, str] = {}
    num_drawn = num_tokens = 0
    for number in range(sampling.samples_per_prompt):
        if not left:
            break
        samples = evaluate_suite(
            engine,
            context.tokenizer,
            task=measured.task,
            prompts=[prompt for prompt, _ in left],
            split=measured.split,
            thinking=measured.thinking,
            sampling=sampling.model_copy(
                update={"samples_per_prompt": 1, "seed": sampling.seed + number}
            ),
            answer_grammars=[grammar for _, grammar in left],
            on_progress=lambda done, total: context.beat(),
        ).samples
        kept = samples[samples[passes].astype(bool)]
        golds |= dict(zip(kept["prompt_id"], kept["completion"], strict=True))
        left = [(prompt, grammar) for prompt, grammar in left if prompt.id not in golds]
        num_drawn += len(samples)
        num_tokens += int(samples["num_tokens"].sum())
    del engine
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {
        "num_prompts": len(measured.prompts),
        "num_kept": len(golds),
        "num_without": len(left),
        "num_drawn": num_drawn,
        "num_tokens": num_tokens,
        "seconds": time.monotonic() - started,
        "golds": golds,
    }


def _record(context: TrialContext, found: dict[str, Any]) -> None:
    """Put counts and cost into the log and into the metrics of step 0, once.

    Raises:
        TrialError: No prompt has a gold.
    """
    counts = {key: value for key, value in found.items() if key.startswith("num_")}
    logger.info(
        "trial=%s golds of %d prompts under their grammars: drew %d completions of %d tokens in "
        "%.0f s, kept %d, %d prompts have none",
        context.spec.trial_id,
        *(counts[f"num_{name}"] for name in ("prompts", "drawn", "tokens")),
        found["seconds"],
        *(counts[f"num_{name}"] for name in ("kept", "without")),
    )
    if not context.records.has_logged(0, "golds/num_kept"):
        metrics = {f"golds/{name}": count for name, count in counts.items()}
        context.records.log(0, metrics | {"time/golds_s": found["seconds"]})
    if not found["golds"]:
        raise TrialError(
            f"task.golds = grammar: none of {found['num_drawn']} completions of "
            f"{found['num_prompts']} prompts passes every check, so there is nothing to train on. "
            "Raise grpo.num_generations or grpo.max_completion_length, or use method: grpo."
        )
