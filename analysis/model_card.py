"""Writes the model card of an exported trial: results, verdict, data, training and limits.

Figures come from the trial's records and its sweep's verdicts. What a sweep cannot know (general
ability, safety, licences) is said to be unknown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.measured import Measured, measure
from analysis.records import read_run
from analysis.sweep import CellVerdict, sweep_verdicts
from analysis.tables import item_lines, rate_text, table_lines
from analysis.trials import LOW_THINK_RATE, TrialVerdict
from analysis.verdicts import effect_text
from strictune.config import ComputeDtype, TrialSpec, dump_yaml, load_trial
from strictune.errors import StorageError
from strictune.records import PLAN, Lock, Outcome, read_lock, read_outcome

__all__ = ["CardSource", "model_card", "read_card_source"]

_HOW = {"grpo": "by GRPO on", "sft": "on gold completions of"}
_DECODING = ("engine", "temperature", "top_p", "max_new_tokens", "max_think_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSource:
    """A finished trial."""

    spec: TrialSpec
    lock: Lock
    outcome: Outcome
    measured: Measured
    """Its final split."""
    judged: TrialVerdict | None
    """None where no sweep has planned it."""
    cell: CellVerdict | None

    @property
    def dtype(self) -> ComputeDtype:
        """The precision of the computation."""
        assert self.lock.dtype is not None
        return self.lock.dtype


def read_card_source(run: Path) -> CardSource:
    """Read a finished trial's records, and judge it where a sweep planned it.

    Raises:
        SpecError: ``trial.yaml`` is missing or cannot be understood.
        StorageError: The trial has no result, or a file cannot be understood.
    """
    spec = load_trial(run / "trial.yaml")
    measured = measure(read_run(run))
    lock, outcome = read_lock(run), read_outcome(run)
    # A finished trial with samples has both.
    assert lock is not None
    assert outcome is not None
    if lock.dtype is None:
        raise StorageError(f"{run / 'lock.json'}: dtype is missing. Train this trial again.")
    judged, cell = _judged(run.resolve())
    return CardSource(
        spec=spec, lock=lock, outcome=outcome, measured=measured, judged=judged, cell=cell
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
        "Verdict": item_lines(_verdicts(source)),
        "Data": item_lines(_data(source)),
        "Training": [
            *item_lines(_training(source)),
            "",
            "```yaml",
            *dump_yaml(spec).rstrip().splitlines(),
            "```",
        ],
        "Limits": item_lines([*_limits(source, is_merged=is_merged), *notes]),
    }
    lines = [
        *_front_matter(spec, is_merged=is_merged),
        f"# {spec.display_name}",
        "",
        f"{kind}: {spec.model}, trained {', then '.join(_HOW[one] for one in spec.methods)} "
        f"{spec.task.kind}, thinking "
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
        f"tags: [{', '.join(spec.methods)}, strictune]",
        "---",
        "",
    ]


def _results(source: CardSource) -> list[str]:
    measured, key = source.measured, source.measured.record.evaluation_key
    comparison = source.judged.comparison if source.judged else None
    unseen = " that training never saw" if _is_split_by_family(source.spec) else ""
    decoding = ", ".join(f"{name} {key[name]}" for name in _DECODING if name in key)
    rows = []
    for criterion in measured.criteria:
        before = after = "not measured"
        if comparison is not None and criterion in comparison.rates:
            before = rate_text(comparison.rates[criterion])
            after = effect_text(comparison.deltas[criterion])
        ours = {"criterion": criterion, "this model": rate_text(measured.rate(criterion))}
        rows.append(ours | {"untrained baseline": before, "difference": after})
    return [
        f"Pass@1 on the {measured.record.split} split: {measured.num_completions} completions of "
        f"{len(measured.table)} prompts in {len(set(measured.families))} families{unseen}. "
        f"Decoding: {decoding}.",
        "",
        *table_lines(rows),
        "",
        "95% intervals that allow for families. Differences are paired on prompts; only the one "
        "on the primary criterion was planned as a comparison.",
        "",
        f"Think rate {measured.mean('is_thinking'):.1%}, "
        f"{measured.mean('num_tokens'):.0f} tokens on average, "
        f"{measured.mean('is_truncated'):.1%} cut off.",
    ]


def _verdicts(source: CardSource) -> list[str]:
    if source.judged is None:
        return ["not judged: no sweep has planned this trial."]
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
        f"data set {source.lock.data_hash or 'unknown'}",
        f"scorer {source.lock.scorer_hash or 'unknown'}",
        "no family of prompts is in two splits"
        if _is_split_by_family(source.spec)
        else "prompts are read from files: whether a family is in two splits was not checked",
    ]


def _is_split_by_family(spec: TrialSpec) -> bool:
    """Whether the task drew the splits itself, not from files of a user's own."""
    return not any(getattr(spec.task, split, None) for split in ("train", "validation", "test"))


def _training(source: CardSource) -> list[str]:
    spec, lock, outcome = source.spec, source.lock, source.outcome
    versions = ", ".join(
        f"{name} {version}" for name, version in sorted(lock.packages.items()) if version
    )
    weights = ", ".join(f"{name} {weight:g}" for name, weight in spec.weights.items())
    storage = "" if spec.quantization == "none" else f"{spec.quantization}, computing in "
    return [
        f"base {spec.model}, revision {lock.model_revision or 'unknown'}",
        f"{outcome.steps} optimizer steps in {(outcome.seconds or 0) / 60:.0f} minutes on "
        f"{lock.device or 'an unknown device'}, seed {spec.seed}",
        f"base weights in training: {storage}{source.dtype}",
        *([f"reward weights: {weights}"] if spec.method == "grpo" else []),
        f"strictune {lock.git_sha or 'of an unknown commit'}; {versions or 'no versions'}",
        "everything else:",
    ]


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


def _judged(run: Path) -> tuple[TrialVerdict | None, CellVerdict | None]:
    sweep = run.parents[1]
    verdicts = sweep_verdicts(sweep) if (sweep / PLAN).is_file() else None
    for trial in verdicts.trials if verdicts else ():
        if trial.plan.trial_id == run.name:
            cells = {cell.cell: cell for cell in verdicts.cells} if verdicts else {}
            return trial, cells.get(trial.plan.cell)
    return None, None
