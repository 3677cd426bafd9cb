"""The keys that decide which results may be compared at all.

Two results with different evaluation keys are never compared. A trial and its baseline must
also agree on the baseline key. Keys are flat mappings, so that a refusal can name the part
that differs; sample counts and evaluation seeds are no part of them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strictune.config import TrialSpec
from trainables.evaluation.suite import select_suite
from trainables.models import load_tokenizer, resolve_model
from trainables.prompting import chat_template_hash, render_prompt
from trainables.tasks import load_task
from trainables.tasks.task import Prompt

__all__ = ["ComparisonKeys", "comparison_keys", "key_digest", "suite_hash"]

KeyValue = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonKeys:
    """Both keys of one cell, for its final split."""

    evaluation: Mapping[str, KeyValue]
    """Suite, split, decoding block and scorer: what every comparison shares."""
    baseline: Mapping[str, KeyValue]
    """Also everything that decides what the untrained model says."""
    data: str
    """Hash of the data set, training prompts included; part of neither key."""

    @property
    def baseline_digest(self) -> str:
        """Names the baseline's folder."""
        return key_digest(self.baseline)

    def document(self) -> dict[str, Any]:
        """Return what ``lock.json`` says of comparability."""
        return {
            "model_revision": self.baseline["model_revision"],
            "data_hash": self.data,
            "scorer_hash": self.evaluation["scorer"],
            "evaluation_key": dict(self.evaluation),
            "baseline_key": dict(self.baseline),
            "baseline": self.baseline_digest,
        }


def comparison_keys(spec: TrialSpec) -> ComparisonKeys:
    """Work out both keys of a trial's cell; reads the model's files, loads no weights."""
    task = load_task(spec.task)
    source = resolve_model(spec.model)
    evaluation = spec.evaluation
    prompts = select_suite(
        task, evaluation.final_split, per_difficulty=evaluation.num_prompts_per_difficulty
    )
    shared: dict[str, KeyValue] = {
        "suite": suite_hash(prompts),
        "split": evaluation.final_split,
        "engine": spec.rollouts.engine,
        "temperature": evaluation.temperature,
        "top_p": evaluation.top_p,
        "stop": "eos",
        "max_new_tokens": evaluation.max_new_tokens,
        "max_think_tokens": evaluation.max_think_tokens,
        "scorer": task.scorer_hash(),
    }
    tokenizer = load_tokenizer(source)
    baseline = {
        **shared,
        "model": source.name,
        "model_revision": source.revision,
        "quantization": spec.quantization,
        "dtype": spec.dtype,
        "thinking": spec.thinking,
        "prompt": _text_hash(
            render_prompt(
                tokenizer, task.messages(prompt, thinking=spec.thinking), thinking=spec.thinking
            ).text
            for prompt in prompts
        ),
        "chat_template": chat_template_hash(tokenizer),
    }
    return ComparisonKeys(evaluation=shared, baseline=baseline, data=task.data_hash())


def suite_hash(prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of the prompts and of what scoring reads, in order."""
    return _text_hash(
        json.dumps([prompt.id, prompt.text, dict(prompt.columns)]) for prompt in prompts
    )


def key_digest(key: Mapping[str, KeyValue]) -> str:
    """Name a key: 16 hexadecimal digits of its SHA-256."""
    text = json.dumps(dict(key), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text_hash(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
