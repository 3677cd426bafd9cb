"""The keys that decide which results may be compared at all.

Two results with different evaluation keys are never compared. A trial and its baseline must
also agree on the baseline key. Keys are flat mappings, so that a refusal can name the part
that differs; sample counts and evaluation seeds are no part of them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from strictune.config import ComputeDtype, TrialSpec
from trainables.evaluation.measurement import Measurement, baseline_measurement
from trainables.models import load_tokenizer
from trainables.prompting import chat_template_hash, render_prompt
from trainables.rollouts.constraint import engine_name
from trainables.tasks.task import Prompt

__all__ = ["ComparisonKeys", "comparison_keys", "key_digest", "measurement_keys", "suite_hash"]

GRAMMAR_HASH_CHARS = 16

KeyValue = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonKeys:
    """Both keys of one cell, for its final split."""

    evaluation: Mapping[str, KeyValue]
    """Suite, split, decoding block, scorer and grammars: what every comparison shares."""
    baseline: Mapping[str, KeyValue]
    """Also everything that decides what the untrained model says."""
    data: str
    """Hash of the data set, training prompts included; part of neither key."""

    @property
    def baseline_digest(self) -> str:
        """Names the baseline's folder."""
        return key_digest(self.baseline)

    def document(self) -> dict[str, Any]:
        """Return the keys as ``lock.json`` holds them."""
        return {
            "model_revision": self.baseline["model_revision"],
            "dtype": self.baseline["dtype"],
            "data_hash": self.data,
            "scorer_hash": self.evaluation["scorer"],
            "evaluation_key": dict(self.evaluation),
            "baseline_key": dict(self.baseline),
            "baseline": self.baseline_digest,
        }


def comparison_keys(spec: TrialSpec, *, dtype: ComputeDtype) -> ComparisonKeys:
    """Return both keys of a trial's cell; reads the model's files, loads no weights."""
    return measurement_keys(baseline_measurement(spec, dtype=dtype))


def measurement_keys(measured: Measurement) -> ComparisonKeys:
    """Return both keys of a measurement; an adapter is part of neither."""
    sampling = measured.sampling
    shared: dict[str, KeyValue] = {
        "suite": suite_hash(measured.prompts),
        "split": measured.split,
        "engine": measured.engine,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": "eos",
        "max_new_tokens": sampling.max_new_tokens,
        "max_think_tokens": sampling.max_think_tokens,
        "scorer": measured.task.scorer_hash(),
    }
    if measured.answer_grammars is not None:
        # Only where there is one: results from before keep their keys.
        digest = _text_hash(measured.answer_grammars)
        shared["grammar"] = f"{engine_name()}, {digest[:GRAMMAR_HASH_CHARS]}"
    tokenizer = load_tokenizer(measured.model)
    baseline = {
        **shared,
        "model": measured.model.name,
        "model_revision": measured.model.revision,
        "quantization": measured.quantization,
        "dtype": measured.dtype,
        "thinking": measured.thinking,
        "prompt": _text_hash(_rendered(measured, tokenizer)),
        "chat_template": chat_template_hash(tokenizer),
    }
    if measured.attn_implementation is not None:
        baseline["attn_implementation"] = measured.attn_implementation
    return ComparisonKeys(evaluation=shared, baseline=baseline, data=measured.data)


def suite_hash(prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of the prompts and of what scoring reads, in order."""
    return _text_hash(
        json.dumps([prompt.id, prompt.text, dict(prompt.columns)]) for prompt in prompts
    )


def key_digest(key: Mapping[str, KeyValue]) -> str:
    """Name a key: 16 hexadecimal digits of its SHA-256."""
    text = json.dumps(dict(key), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rendered(measured: Measurement, tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    for prompt in measured.prompts:
        messages = measured.task.messages(prompt, thinking=measured.thinking)
        yield render_prompt(tokenizer, messages, thinking=measured.thinking).text


def _text_hash(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
