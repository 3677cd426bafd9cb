"""The card of an exported trial: data, training, rungs with intervals, verdict and limits.

Figures come from the trial's records and the sweep's ``verdicts.json``; nothing is measured
here. What a sweep cannot know (general ability, safety, licences) is said to be unknown.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from analysis.measured import Interval, Measured, measure
from analysis.records import read_run
from analysis.trials import LOW_THINK_RATE
from analysis.verdicts import Effect, effect_text
from analysis.wording import rate_text
from strictune.config import ComputeDtype, TrialSpec, dump_yaml, load_trial
from strictune.errors import StorageError

__all__ = ["CardSource", "model_card", "read_card_source"]

VERDICTS = "verdicts.json"
_HOW = {"grpo": "by GRPO on", "sft": "on gold completions of"}


class _Bounded(BaseModel, frozen=True):
    estimate: float
    low: float | None
    high: float | None

    def interval(self) -> Interval:
        bounds = (math.nan if bound is None else bound for bound in (self.low, self.high))
        return Interval(self.estimate, *bounds)


class _Effect(BaseModel, frozen=True):
    estimate_pp: float
    low_pp: float | None
    high_pp: float | None

    def effect(self) -> Effect:
        low, high = (math.nan if bound is None else bound for bound in (self.low_pp, self.high_pp))
        return Effect(estimate_pp=self.estimate_pp, low_pp=low, high_pp=high)


class _Text(BaseModel, frozen=True):
    text: str


class _Plan(BaseModel, frozen=True):
    trial_id: str
    cell: str


class _Comparison(BaseModel, frozen=True):
    rates: dict[str, _Bounded]
    deltas: dict[str, _Effect]


class JudgedTrial(BaseModel, frozen=True):
    """What ``verdicts.json`` says of one trial."""

    plan: _Plan
    comparison: _Comparison | None
    verdict: _Text


class JudgedCell(BaseModel, frozen=True):
    """What ``verdicts.json`` says of one cell."""

    cell: str
    verdict: _Text


class _Verdicts(BaseModel, frozen=True):
    trials: tuple[JudgedTrial, ...]
    cells: tuple[JudgedCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSource:
    """Everything that a card says about a finished trial."""

    spec: TrialSpec
    lock: Mapping[str, Any]
    steps: int
    seconds: float
    measured: Measured
    """Its final split."""
    judged: JudgedTrial | None
    """None where no sweep has judged it."""
    cell: JudgedCell | None

    @property
    def dtype(self) -> ComputeDtype:
        """What the trial computed in."""
        return cast(ComputeDtype, self.lock["dtype"])


def read_card_source(run: Path) -> CardSource:
    """Read a finished trial's records and, where its sweep was judged, the verdict.

    Raises:
        SpecError: ``trial.yaml`` is missing or cannot be understood.
        StorageError: The trial has no result, or a file cannot be understood.
    """
    spec = load_trial(run / "trial.yaml")
    measured = measure(read_run(run))
    outcome = _read_json(run / "outcome.json")
    judged, cell = _judged(run)
    return CardSource(
        spec=spec,
        lock=_read_json(run / "lock.json"),
        steps=int(outcome.get("steps", 0)),
        seconds=float(outcome.get("seconds", 0.0)),
        measured=measured,
        judged=judged,
        cell=cell,
    )


def model_card(
    source: CardSource, *, is_merged: bool, usage: str, notes: Sequence[str] = ()
) -> str:
    """Return the card as Markdown, with the front matter that model hubs read.

    Args:
        source: The trial.
        is_merged: The folder holds a whole model, not an adapter.
        usage: Python code that loads the folder and asks it something.
        notes: Further limits, e.g. of a model that exists for demonstrations.
    """
    spec = source.spec
    kind = "The base with the adapter merged into it" if is_merged else "A LoRA adapter"
    sections = {
        "How to use it": ["```python", *usage.rstrip().splitlines(), "```"],
        "Results": _results(source),
        "Verdict": _items(_verdicts(source)),
        "Data": _items(_data(source)),
        "Training": [*_items(_training(source)), "", "```yaml", *_yaml_lines(spec), "```"],
        "Limits": _items([*_limits(source, is_merged=is_merged), *notes]),
    }
    lines = [
        *_front_matter(spec, is_merged=is_merged),
        f"# {spec.display_name}",
        "",
        f"{kind}: {spec.model}, trained {_HOW[spec.method]} {spec.task.kind}, thinking "
        f"{'on' if spec.thinking else 'off'}. Trial `{spec.trial_id}` of strictune.",
    ]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _front_matter(spec: TrialSpec, *, is_merged: bool) -> list[str]:
    is_hub_id = not (spec.model.startswith(("/", ".", "~")) or ":" in spec.model)
    return [
        "---",
        *([f"base_model: {json.dumps(spec.model)}"] if is_hub_id else []),
        f"library_name: {'transformers' if is_merged else 'peft'}",
        "pipeline_tag: text-generation",
        f"tags: [{spec.method}, strictune]",
        "---",
        "",
    ]


def _results(source: CardSource) -> list[str]:
    measured, key = source.measured, source.measured.record.evaluation_key
    comparison = source.judged.comparison if source.judged else None
    lines = [
        f"Pass@1 on the {measured.record.split} split: {measured.num_completions} completions of "
        f"{len(measured.table)} prompts in {len(set(measured.families))} families"
        f"{' that training never saw' if _is_split_by_family(source.spec) else ''}. "
        f"{_decoding(key)}",
        "",
        "| rung | this model | untrained baseline | difference |",
        "|---|---|---|---|",
    ]
    for rung in measured.rungs:
        before = after = "not measured"
        if comparison is not None and rung in comparison.rates:
            before = rate_text(comparison.rates[rung].interval())
            after = effect_text(comparison.deltas[rung].effect())
        lines.append(f"| {rung} | {rate_text(measured.rate(rung))} | {before} | {after} |")
    return [
        *lines,
        "",
        "95% intervals that allow for families. Differences are paired on prompts; only the one "
        "on the primary rung was planned as a comparison.",
        "",
        f"Think rate {measured.mean('is_thinking'):.1%}, "
        f"{measured.mean('num_tokens'):.0f} tokens on average, "
        f"{measured.mean('is_truncated'):.1%} cut off.",
    ]


def _decoding(key: Mapping[str, Any]) -> str:
    names = ("engine", "temperature", "top_p", "max_new_tokens", "max_think_tokens")
    listed = ", ".join(f"{name} {key[name]}" for name in names if name in key)
    return f"Decoding: {listed}."


def _verdicts(source: CardSource) -> list[str]:
    if source.judged is None:
        return ["not judged: no sweep's verdicts name this trial."]
    lines = [source.judged.verdict.text]
    if source.cell is not None:
        lines.append(f"the recipe, over its seeds: {source.cell.verdict.text}")
    return lines


def _data(source: CardSource) -> list[str]:
    task = source.spec.task
    # Blocks of settings stand in the YAML of the whole trial.
    settings = ", ".join(
        f"{name} {value}"
        for name, value in task.model_dump(mode="json", exclude={"kind"}, exclude_none=True).items()
        if not isinstance(value, dict)
    )
    return [
        f"task {task.kind}" + (f" ({settings})" if settings else ""),
        f"data set {source.lock.get('data_hash', 'unknown')}",
        f"scorer {source.lock.get('scorer_hash', 'unknown')}",
        "no family of prompts is in two splits"
        if _is_split_by_family(source.spec)
        else "prompts are read from files: whether a family is in two splits was not checked",
    ]


def _is_split_by_family(spec: TrialSpec) -> bool:
    """Whether the task drew the splits itself; files of a user's own divide them as they may."""
    return not any(getattr(spec.task, split, None) for split in ("train", "validation", "test"))


def _training(source: CardSource) -> list[str]:
    spec, lock = source.spec, source.lock
    packages = lock.get("packages") or {}
    versions = ", ".join(f"{name} {packages[name]}" for name in sorted(packages) if packages[name])
    weights = ", ".join(f"{name} {weight:g}" for name, weight in spec.weights.items())
    return [
        f"base {spec.model}, revision {lock.get('model_revision', 'unknown')}",
        f"{source.steps} optimizer steps in {source.seconds / 60:.0f} minutes on "
        f"{lock.get('device', 'an unknown device')}, seed {spec.seed}",
        f"base weights in training: {_storage(source)}",
        *([f"reward weights: {weights}"] if spec.method == "grpo" else []),
        f"strictune {lock.get('git_sha') or 'of an unknown commit'}; {versions or 'no versions'}",
        "everything else:",
    ]


def _storage(source: CardSource) -> str:
    if source.spec.quantization == "none":
        return source.dtype
    return f"{source.spec.quantization}, computing in {source.dtype}"


def _yaml_lines(spec: TrialSpec) -> list[str]:
    return dump_yaml(spec).rstrip().splitlines()


def _limits(source: CardSource, *, is_merged: bool) -> list[str]:
    spec = source.spec
    limits = [
        f"measured on {spec.task.kind} prompts alone: what training did to anything else the base "
        "could do (other tasks, other languages, refusing) was not measured",
        "the verdict is about this run; what training again would give needs three seeds",
    ]
    if spec.quantization != "none" and is_merged:
        limits.append(
            f"the results above were measured on {spec.quantization} weights; this folder holds "
            f"the unquantized ones in {source.dtype}, which answer slightly differently. "
            "`strictune evaluate --model DIR --quantization none` measures them"
        )
    if spec.thinking and source.measured.mean("is_thinking") < LOW_THINK_RATE:
        limits.append("it was asked to think and rarely does: read it as a model without thinking")
    if spec.ties:
        limits.append(
            f"no reward weight on {', '.join(spec.ties)}, so training could not tell some wrong "
            "answers from right ones"
        )
    limits.append("the base's licence and terms apply; they were not read")
    return limits


def _judged(run: Path) -> tuple[JudgedTrial | None, JudgedCell | None]:
    path = run.resolve().parents[1] / VERDICTS
    if not path.is_file():
        return None, None
    try:
        verdicts = _Verdicts.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StorageError(
            f"{path}: cannot be understood ({error.errors()[0]['msg']}). Write it again with "
            "`strictune report`, or remove it to export without a verdict."
        ) from error
    for trial in verdicts.trials:
        if trial.plan.trial_id == run.resolve().name:
            cells = {cell.cell: cell for cell in verdicts.cells}
            return trial, cells.get(trial.plan.cell)
    return None, None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}).") from error
    if not isinstance(document, dict):
        raise StorageError(f"{path}: found no JSON object.")
    return document


def _items(lines: Sequence[str]) -> list[str]:
    return [f"- {line}" for line in lines]
