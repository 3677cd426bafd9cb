"""What the folders of a sweep say, as records that can be compared with the store.

Pure: the content of files goes in, records come out; ``reader`` reads the files.
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from strictune.config.naming import SEPARATOR, cell_name, short_model_name
from strictune.tracking import names

__all__ = [
    "Artifact",
    "DatasetUse",
    "Findings",
    "FolderContent",
    "RunKey",
    "RunRecord",
    "RunStatus",
    "run_record",
    "sweep_record",
]

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
_ENDED: tuple[RunStatus, ...] = ("FINISHED", "FAILED", "KILLED")

_CELL_PARTS = ("cell", "model", "thinking", "curriculum", "method", "variant", "seed")
_UNTRAINED_PARTS = ("model", "thinking")
_FINAL_ADAPTER = "adapter/final/"
_DIGEST_CHARS = 16


class RunKey(NamedTuple):
    """What a run of the store stands for, within its sweep."""

    kind: names.RunKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}={self.id}"


class Artifact(NamedTuple):
    """One file to upload."""

    path: Path
    name: str
    """Where it goes below the run, with forward slashes."""
    num_bytes: int
    mtime_ns: int


class DatasetUse(NamedTuple):
    """A data set that a run trained on or was measured on."""

    name: str
    digest: str
    context: Literal["training", "evaluation"]
    source: str
    """The task's settings as JSON: they and the seed in them generate or name the data."""


class Findings(NamedTuple):
    """Metrics that were found together, such as the content of ``delta.json``."""

    metrics: Mapping[str, float]
    time_ms: int
    """When they were written: a later comparison stands beside an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderContent:
    """What was read from a run's folder; files that are absent are empty mappings."""

    spec: Mapping[str, Any]
    lock: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    delta: Mapping[str, Any] = field(default_factory=dict)
    final: Mapping[str, Any] = field(default_factory=dict)
    """The last line of ``metrics.jsonl``, of a run that has ended."""
    metrics_bytes: int = 0
    first_ms: int
    """When the run started, as far as its files tell."""
    delta_ms: int = 0
    last_ms: int
    """When any of the files was last written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run's folder says."""

    key: RunKey
    path: Path
    name: str
    started_ms: int
    ended_ms: int
    """When it ended, or was last written to."""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    status: RunStatus = "RUNNING"
    """RUNNING until the folder has an outcome."""
    num_steps: int = 0
    durable_bytes: int = 0
    """As much of ``metrics.jsonl`` as cannot be rolled back."""
    metrics_bytes: int = 0
    """The whole of ``metrics.jsonl``."""
    comparison: Findings | None = None
    final: Findings | None = None
    """What the final split showed."""
    datasets: tuple[DatasetUse, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @property
    def metrics_path(self) -> Path:
        """Where the trial writes its metrics."""
        return self.path / "metrics.jsonl"

    @property
    def final_adapter(self) -> tuple[Artifact, ...]:
        """The files of the adapter that a finished trial ended with."""
        if self.key.kind != "trial" or self.status != "FINISHED":
            return ()
        return tuple(file for file in self.artifacts if file.name.startswith(_FINAL_ADAPTER))


def run_record(
    key: RunKey,
    path: Path,
    content: FolderContent,
    *,
    plan: Mapping[str, Any],
    artifacts: tuple[Artifact, ...],
) -> RunRecord:
    """Say what the folder of a trial, baseline or control holds.

    Raises:
        ValueError, KeyError, TypeError: A file does not have the content it should have.
    """
    planned: Mapping[str, Any] = next(
        (trial for trial in plan["trials"] if trial["trial_id"] == key.id),
        _names_of_point(key, content.spec),
    )
    outcome, delta = content.outcome, content.delta
    status = run_status(outcome)
    durable = content.progress.get("metrics_bytes", 0)
    return RunRecord(
        key=key,
        path=path,
        name=str(planned.get("name") or _default_name(key, content.spec)),
        started_ms=_ms(outcome.get("started")) or content.first_ms,
        ended_ms=_ms(outcome.get("ended")) or content.last_ms,
        tags={
            names.tag("task"): str(plan["task"]),
            **_identity_tags(key, {**content.spec, **planned}, content.lock),
            **_finding_tags(outcome, delta),
        },
        params=names.flat_params(content.spec),
        status=status,
        num_steps=int(outcome.get("steps") or content.progress.get("step") or 0),
        durable_bytes=content.metrics_bytes if status == "FINISHED" else int(durable),
        metrics_bytes=content.metrics_bytes,
        comparison=_findings_of(delta, content.delta_ms),
        final=_findings_of(content.final, _ms(content.final.get("time")) or 0, only="final/"),
        datasets=_datasets(key, content, task=str(plan["task"])),
        artifacts=artifacts,
    )


def sweep_record(
    path: Path,
    plan: Mapping[str, Any],
    runs: Sequence[RunRecord],
    *,
    planned_ms: int,
    verdicts: str,
    artifacts: tuple[Artifact, ...],
) -> RunRecord:
    """Say what the sweep's folder holds; the status is the one it has if nobody runs it."""
    trials = [run for run in runs if run.key.kind == "trial"]
    planned = {str(trial["trial_id"]) for trial in plan["trials"]}
    counts = {status: sum(run.status == status for run in trials) for status in _ENDED}
    # The points of a search are trials that no plan lists.
    tags = {
        names.tag("task"): str(plan["task"]),
        names.tag("num_trials"): str(len(planned | {run.key.id for run in trials})),
        **{names.tag(f"num_trials_{status.lower()}"): str(n) for status, n in counts.items()},
    }
    if verdicts:
        tags[names.NOTE] = names.cut_table(verdicts, source="verdicts.md")
    return RunRecord(
        key=RunKey("sweep", str(plan["sweep"])),
        path=path,
        name=str(plan["sweep"]),
        # Baselines come from a cache and may be older than the sweep.
        started_ms=min([planned_ms, *(run.started_ms for run in trials)]),
        ended_ms=max([run.ended_ms for run in trials], default=planned_ms),
        tags=tags,
        status=_sweep_status(planned, trials),
        artifacts=artifacts,
    )


def run_status(outcome: Mapping[str, Any]) -> RunStatus:
    """Return the state in ``outcome.json``; without the file a run is RUNNING."""
    if not outcome:
        return "RUNNING"
    for status in _ENDED:
        if outcome["state"] == status:
            return status
    raise ValueError(f"outcome.json: state is {outcome['state']!r}, expected one of {_ENDED}")


def _sweep_status(planned: Set[str], trials: Sequence[RunRecord]) -> RunStatus:
    # A failed trial is a result, so one that works is enough for a sweep to have finished.
    ended = [run.status for run in trials if run.key.id in planned and run.status in _ENDED]
    if len(ended) < len(planned):
        return "KILLED"
    return "FAILED" if ended and set(ended) == {"FAILED"} else "FINISHED"


def _identity_tags(key: RunKey, spec: Mapping[str, Any], lock: Mapping[str, Any]) -> dict[str, str]:
    is_trial = key.kind == "trial"
    parts = _CELL_PARTS if is_trial else _UNTRAINED_PARTS
    tags = {names.tag(part): _text(spec[part]) for part in parts if spec.get(part) is not None}
    if is_trial and lock.get("baseline"):
        tags[names.BASELINE] = str(lock["baseline"])
    if lock.get("git_sha"):
        tags["mlflow.source.git.commit"] = str(lock["git_sha"])
    return tags | {names.ID_TAGS[key.kind]: key.id}


def _datasets(key: RunKey, content: FolderContent, *, task: str) -> tuple[DatasetUse, ...]:
    source = json.dumps({"task": content.spec.get("task")}, default=str)
    trained_on = content.lock.get("data_hash") if key.kind == "trial" else None
    measured_on = content.lock.get("evaluation_key") or {}
    found: list[DatasetUse] = []
    if trained_on:
        digest = str(trained_on)[:_DIGEST_CHARS]
        found.append(DatasetUse(f"{task}/train", digest, "training", source))
    if measured_on.get("suite"):
        digest = str(measured_on["suite"])[:_DIGEST_CHARS]
        found.append(DatasetUse(f"{task}/{measured_on['split']}", digest, "evaluation", source))
    return tuple(found)


def _findings_of(document: Mapping[str, Any], time_ms: int, *, only: str = "") -> Findings | None:
    found = {
        names.metric_key(name): float(value)
        for name, value in document.get("metrics", {}).items()
        if name.startswith(only)
    }
    return Findings(found, time_ms) if found else None


def _finding_tags(outcome: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, str]:
    found = {
        names.REASON: outcome.get("reason"),
        names.VERDICT: delta.get("verdict"),
        names.NOTE: delta.get("text"),
    }
    return {key: names.cut(str(value)) for key, value in found.items() if value}


def _names_of_point(key: RunKey, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return name and cell of a trial that no plan lists: a point of a search."""
    if key.kind != "trial" or not spec.get("variant"):
        return {}
    model = spec.get("model_label") or short_model_name(str(spec["model"]))
    cell = cell_name(
        model=str(model),
        thinking=bool(spec["thinking"]),
        curriculum=str(spec["curriculum"]),
        variant=str(spec["variant"]),
    )
    return {"name": f"{cell}{SEPARATOR}seed {spec['seed']}", "cell": cell}


def _default_name(key: RunKey, spec: Mapping[str, Any]) -> str:
    kind = {"baseline": "baseline", "control": "grammar"}.get(key.kind)
    if kind is None or "model" not in spec:
        return key.id
    model = spec.get("model_label") or short_model_name(str(spec["model"]))
    return SEPARATOR.join((kind, str(model), "think" if spec.get("thinking") else "no-think"))


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
