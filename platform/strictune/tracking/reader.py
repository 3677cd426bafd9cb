"""Reads the folders of a sweep, again and again while it runs, as records of runs.

Reading never writes and never asks the store. A folder that cannot be read is a problem to
report, and the others go on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from strictune.config.naming import SEPARATOR, cell_name, short_model_name
from strictune.errors import StorageError
from strictune.records import (
    BASELINES,
    CONTROLS,
    DELTA,
    LOCK,
    METRICS,
    OUTCOME,
    PLAN,
    PROGRESS,
    TRIALS,
    Delta,
    Lock,
    OutcomeState,
    Plan,
    parse_line,
    read_delta,
    read_lines,
    read_lock,
    read_outcome,
    read_plan,
    read_progress,
)
from strictune.tracking import names

__all__ = ["Artifact", "DatasetUse", "Findings", "RunKey", "RunRecord", "SweepReader", "SweepView"]

NO_OUTCOME = "its process ended before it could write an outcome"
"""The recorded reason of a run that a kill left open."""

_SPEC = "trial.yaml"
_FOLDERS: Mapping[names.RunKind, str] = {
    "baseline": BASELINES,
    "control": CONTROLS,
    "trial": TRIALS,
}
_RUN_FILES = (_SPEC, LOCK, PROGRESS, OUTCOME, DELTA)
_SIGNS_OF_LIFE = (LOCK, PROGRESS, OUTCOME)
_RUN_ARTIFACTS = ("adapter", "eval", _SPEC, LOCK)
_SWEEP_ARTIFACTS = (
    "sweep.yaml",
    PLAN,
    "verdicts.json",
    "verdicts.md",
    "report.md",
    "report.html",
    "report_figures",
    "studies.json",
    "findings.json",
    "findings.md",
    "findings_figures",
)
_CELL_PARTS = ("cell", "model", "thinking", "curriculum", "method", "variant", "seed")
_UNTRAINED_PARTS = ("model", "thinking")
_FINAL_ADAPTER = "adapter/final/"
_DIGEST_CHARS = 16


class RunKey(NamedTuple):
    """Identifies a run within its sweep."""

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
class RunRecord:
    """What one run's folder says."""

    key: RunKey
    path: Path
    name: str
    started_ms: int
    ended_ms: int
    """When it ended, or was last written to."""
    status: names.RunStatus
    has_outcome: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    num_steps: int = 0
    end_bytes: int = 0
    """As much of ``metrics.jsonl`` as will not be rolled back."""
    comparison: Findings | None = None
    final: Findings | None = None
    """What the final split showed."""
    datasets: tuple[DatasetUse, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @property
    def metrics_path(self) -> Path:
        """Where the run writes its metrics."""
        return self.path / METRICS

    @property
    def final_adapter(self) -> tuple[Artifact, ...]:
        """The files of the adapter that a finished trial ended with."""
        if self.key.kind != "trial" or self.status != "FINISHED":
            return ()
        return tuple(file for file in self.artifacts if file.name.startswith(_FINAL_ADAPTER))


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """One look at the folders of a sweep."""

    task: str
    primary_criterion: str
    sweep: RunRecord
    """With the status that it has if no process runs it."""
    runs: tuple[RunRecord, ...]
    """Baselines first, then controls and trials, by folder name; those that have begun."""
    problems: tuple[str, ...]
    """Folders that could not be read, and why."""


class SweepReader:
    """Gives a view of the folders; a record of what did not change is the same object."""

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir
        self._cache: dict[Path, tuple[object, RunRecord]] = {}

    def read(self, *, is_final: bool = False) -> SweepView:
        """Look at every folder once.

        Args:
            is_final: No process writes to the folders any more: a run without an outcome was
                killed, and a failed one will not be rolled back to its last checkpoint.

        Raises:
            StorageError: ``plan.json`` is missing or cannot be read.
        """
        plan = read_plan(self.sweep_dir)
        runs: list[RunRecord] = []
        problems: list[str] = []
        folders = [
            (RunKey(kind, path.name), path)
            for kind, folder in _FOLDERS.items()
            for path in sorted((self.sweep_dir / folder).glob("*/"))
        ]
        for key, path in folders:
            if not any((path / name).exists() for name in _SIGNS_OF_LIFE):
                continue
            try:
                runs.append(self._record(key, path, plan, is_final=is_final))
            except FileNotFoundError as error:
                # Before the end, the folder may be in the middle of being copied or removed.
                if is_final:
                    problems.append(f"{path}: {Path(error.filename).name} is missing")
            except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
                problems.append(f"{path}: cannot be read ({type(error).__name__}: {error})")
            except StorageError as error:
                problems.append(str(error))
        return SweepView(
            task=plan.task,
            primary_criterion=plan.primary_criterion,
            sweep=_sweep_record(self.sweep_dir, plan, runs),
            runs=tuple(runs),
            problems=tuple(problems),
        )

    def _record(self, key: RunKey, path: Path, plan: Plan, *, is_final: bool) -> RunRecord:
        stamps = {name: _stamp(path / name) for name in (*_RUN_FILES, METRICS)}
        if not stamps[OUTCOME]:  # While it runs, its checkpoints say how much of it counts.
            stamps[METRICS] = None
        signature = (stamps, _stamp(self.sweep_dir / PLAN), is_final)
        cached = self._cache.get(path)
        if cached is None or cached[0] != signature:
            record = _run_record(key, path, plan, is_final=is_final)
            cached = self._cache[path] = signature, record
        return cached[1]


def _run_record(key: RunKey, path: Path, plan: Plan, *, is_final: bool) -> RunRecord:
    # The C loader is 20 times faster; that it reads 1e-6 as text does not matter for a param.
    spec = yaml.load((path / _SPEC).read_bytes(), Loader=yaml.CSafeLoader)
    if not isinstance(spec, dict):
        raise ValueError(f"{_SPEC}: a mapping was expected, found {type(spec).__name__}")
    lock, progress = read_lock(path), read_progress(path)
    outcome, delta = read_outcome(path), read_delta(path)
    reason = outcome.reason if outcome else NO_OUTCOME if is_final else None
    planned = next((trial for trial in plan.trials if trial.trial_id == key.id), None)
    named = planned.model_dump() if planned else _names_of_point(key, spec)
    times = {name: stamp.mtime_ns for name in _RUN_FILES if (stamp := _stamp(path / name))}
    compared_ns = times.pop(DELTA, 0)  # Written long after the run.
    metrics = _stamp(path / METRICS)
    if metrics:
        times[METRICS] = metrics.mtime_ns
    is_complete = outcome is not None and (is_final or outcome.state == "FINISHED")
    return RunRecord(
        key=key,
        path=path,
        name=str(named.get("name") or _default_name(key, spec)),
        started_ms=_ms(outcome.started if outcome else None, times.get(LOCK, min(times.values()))),
        ended_ms=_ms(outcome.ended if outcome else None, max(times.values())),
        status=outcome.state if outcome else "KILLED" if is_final else "RUNNING",
        has_outcome=outcome is not None,
        tags={
            names.tag("task"): plan.task,
            **_identity_tags(key, {**spec, **named}, lock),
            **_finding_tags(reason, delta),
        },
        params=names.flat_params(spec),
        num_steps=outcome.steps if outcome else progress.step,
        end_bytes=metrics.num_bytes if metrics and is_complete else progress.metrics_bytes,
        comparison=_findings(delta.metrics if delta else {}, compared_ns // 1_000_000),
        final=_final_findings(path) if outcome else None,
        datasets=_datasets(key, spec, lock, task=plan.task),
        artifacts=_list_artifacts(path, _RUN_ARTIFACTS) if outcome or is_final else (),
    )


def _sweep_record(path: Path, plan: Plan, runs: Sequence[RunRecord]) -> RunRecord:
    trials = [run for run in runs if run.key.kind == "trial"]
    ended = {run.key.id: run.status for run in trials if run.has_outcome}
    planned = {trial.trial_id for trial in plan.trials}
    states: tuple[OutcomeState, ...] = ("FINISHED", "FAILED", "KILLED")
    counts = {state: list(ended.values()).count(state) for state in states}
    # The points of a search are trials that no plan lists.
    tags = {
        names.tag("task"): plan.task,
        names.tag("num_trials"): str(len(planned | {run.key.id for run in trials})),
        **{names.tag(f"num_trials_{state.lower()}"): str(n) for state, n in counts.items()},
    }
    verdicts = path / "verdicts.md"
    if verdicts.exists():
        text = verdicts.read_text(encoding="utf-8")
        tags[names.NOTE] = names.cut_table(text, source=verdicts.name)
    # A failed trial is a result, so one that works is enough for a sweep to have finished.
    has_failed = planned and all(ended.get(trial_id) == "FAILED" for trial_id in planned)
    planned_ms = (path / PLAN).stat().st_mtime_ns // 1_000_000
    return RunRecord(
        key=RunKey("sweep", plan.sweep),
        path=path,
        name=plan.sweep,
        # Baselines come from a cache and may be older than the sweep.
        started_ms=min([planned_ms, *(run.started_ms for run in trials)]),
        ended_ms=max([run.ended_ms for run in trials], default=planned_ms),
        status="KILLED" if planned - ended.keys() else "FAILED" if has_failed else "FINISHED",
        tags=tags,
        artifacts=_list_artifacts(path, _SWEEP_ARTIFACTS),
    )


def _identity_tags(key: RunKey, spec: Mapping[str, Any], lock: Lock | None) -> dict[str, str]:
    is_trial = key.kind == "trial"
    parts = _CELL_PARTS if is_trial else _UNTRAINED_PARTS
    tags = {names.tag(part): _text(spec[part]) for part in parts if spec.get(part) is not None}
    if is_trial and lock:
        tags[names.BASELINE] = lock.baseline
    if lock and lock.git_sha:
        tags["mlflow.source.git.commit"] = lock.git_sha
    return tags | {names.ID_TAGS[key.kind]: key.id}


def _finding_tags(reason: str | None, delta: Delta | None) -> dict[str, str]:
    found = {
        names.REASON: reason,
        names.VERDICT: delta and delta.verdict,
        names.NOTE: delta and delta.text,
    }
    return {key: names.cut(value) for key, value in found.items() if value}


def _findings(metrics: Mapping[str, float], time_ms: int) -> Findings | None:
    found = {names.metric_key(name): value for name, value in metrics.items()}
    return Findings(found, time_ms) if found else None


def _final_findings(path: Path) -> Findings | None:
    """Return the final split's metrics: those of the last whole line."""
    lines = read_lines(path / METRICS) if (path / METRICS).exists() else ()
    last = next((found for line in reversed(list(lines)) if (found := parse_line(line))), None)
    if last is None:
        return None
    metrics = {name: value for name, value in last.metrics.items() if name.startswith("final/")}
    return _findings(metrics, int(last.time * 1000)) if metrics else None


def _datasets(
    key: RunKey, spec: Mapping[str, Any], lock: Lock | None, *, task: str
) -> tuple[DatasetUse, ...]:
    if lock is None:
        return ()
    source = json.dumps({"task": spec.get("task")}, default=str)
    found: list[DatasetUse] = []
    if key.kind == "trial" and lock.data_hash:
        digest = lock.data_hash[:_DIGEST_CHARS]
        found.append(DatasetUse(f"{task}/train", digest, "training", source))
    if suite := lock.evaluation_key.get("suite"):
        split, digest = lock.evaluation_key["split"], str(suite)[:_DIGEST_CHARS]
        found.append(DatasetUse(f"{task}/{split}", digest, "evaluation", source))
    return tuple(found)


def _names_of_point(key: RunKey, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return name and cell of a trial that no plan lists: a point of a search."""
    if key.kind != "trial" or not spec.get("variant"):
        return {}
    cell = cell_name(
        model=str(spec.get("model_label") or short_model_name(str(spec["model"]))),
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


def _list_artifacts(root: Path, wanted: tuple[str, ...]) -> tuple[Artifact, ...]:
    found = []
    for name in wanted:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file():
                stat = path.stat()
                relative = path.relative_to(root).as_posix()
                found.append(Artifact(path, relative, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


class _Stamp(NamedTuple):
    mtime_ns: int
    num_bytes: int


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return _Stamp(stat.st_mtime_ns, stat.st_size)


def _ms(seconds: float | None, otherwise_ns: int) -> int:
    return otherwise_ns // 1_000_000 if seconds is None else int(seconds * 1000)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
