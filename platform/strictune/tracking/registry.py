"""The model registry: one registered model per task and base model, with the alias ``best``.

A sweep's candidate becomes a version of it. The alias moves only by a verdict: the first time
because the candidate is better than its baseline, later because it is better than the version
that holds the alias, on the same prompts. Whoever calls says which adapters are candidates and
judges the two; here the records of the holder are fetched from the store, wherever it was
trained.

Load it with ``mlflow.artifacts.download_artifacts("models:/strict_json-tiny@best")``: a folder
in PEFT's format.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from strictune.config.naming import short_model_name
from strictune.errors import StorageError
from strictune.records import LOCK, TRIALS, Outcome, read_lock, write_outcome
from strictune.tracking import names
from strictune.tracking.identity import read_identity
from strictune.tracking.store import StoredRun, TrackingStore

__all__ = ["Candidate", "Promotion", "Ruling", "promote"]

BEST = "best"


class Candidate(NamedTuple):
    """The adapter of a sweep that may be the best of its base model."""

    model: str
    trial_id: str
    text: str
    """The verdict that makes it a candidate."""


class Ruling(Protocol):
    """What was found between a candidate and the version that holds the alias."""

    @property
    def is_better(self) -> bool:
        """Whether the alias moves."""

    @property
    def text(self) -> str:
        """Why."""


class Promotion(NamedTuple):
    """What became of a candidate."""

    name: str
    """The registered model."""
    version: str
    trial_id: str
    is_best: bool
    """The alias points to it now."""
    text: str


def promote(
    sweep_dir: Path,
    tracking_uri: str,
    candidates: Sequence[Candidate],
    *,
    task: str,
    judge: Callable[[Path, Path], Ruling],
) -> list[Promotion]:
    """Register the candidates of a sweep that the store holds, and move aliases by verdict.

    Doing it again changes nothing.

    Args:
        sweep_dir: The sweep's folder.
        tracking_uri: The store that its runs were copied to.
        candidates: At most one for each base model.
        task: Kind of the task.
        judge: Compares two trials' folders, the candidate's first.

    Raises:
        StorageError: The store is away or lacks a run, or the holder's records cannot be read.
    """
    identity = read_identity(sweep_dir)
    if identity is None or not candidates:
        return []
    store = TrackingStore.open(tracking_uri, out_dir=sweep_dir.absolute().parent)
    runs = store.find_runs(
        store.experiment(names.experiment_name(task)), {names.SWEEP_ID: identity.sweep_id}
    )
    by_trial = {run.tags.get(names.TRIAL): run for run in runs}
    registry = _Registry(store)
    done = []
    for candidate in candidates:
        run = by_trial.get(candidate.trial_id)
        if run is None or names.LOGGED_MODEL not in run.tags:
            raise StorageError(f"the tracking store lacks the adapter of {candidate.trial_id}.")
        folder = sweep_dir / TRIALS / candidate.trial_id
        done.append(registry.promote(candidate, run, folder, task=task, judge=judge))
    return done


class _Registry:
    def __init__(self, store: TrackingStore) -> None:
        self._store = store

    def promote(
        self,
        candidate: Candidate,
        run: StoredRun,
        folder: Path,
        *,
        task: str,
        judge: Callable[[Path, Path], Ruling],
    ) -> Promotion:
        name = f"{task}-{short_model_name(candidate.model)}"
        holder = self._holder(name, about=f"LoRA adapters of {candidate.model} for {task}")
        version, is_new = self._version(name, candidate, run)
        if holder is not None and (holder.run_id == run.run_id or not is_new):
            is_best = holder.run_id == run.run_id
            found = version.tags.get(names.REASON, "")
            return Promotion(name, str(version.version), candidate.trial_id, is_best, found)
        is_best, text = True, candidate.text
        if holder is not None:
            ruling = self._judge(folder, holder, judge)
            is_best, text = ruling.is_better, ruling.text
        if is_best:
            self._store.call("set_registered_model_alias", name, BEST, version.version)
        # Last: a version with a reason has been ruled about.
        self._store.call(
            "set_model_version_tag", name, version.version, names.REASON, names.cut(text)
        )
        return Promotion(name, str(version.version), candidate.trial_id, is_best, text)

    def _holder(self, name: str, *, about: str) -> Any:
        """Return the version that holds the alias; None without one. Creates the model."""
        found = self._store.call("search_registered_models", filter_string=f"name = '{name}'")
        if not found:
            self._store.call(
                "create_registered_model",
                name,
                description=f"{about}; the alias {BEST} moves by verdicts alone.",
            )
            return None
        version = dict(found[0].aliases).get(BEST)
        return version and self._store.call("get_model_version", name, version)

    def _version(self, name: str, candidate: Candidate, run: StoredRun) -> tuple[Any, bool]:
        """Return the candidate's version, and whether nothing was ruled about it so far."""
        found = self._store.call(
            "search_model_versions", f"name = '{name}' and run_id = '{run.run_id}'"
        )
        for version in found:
            return version, names.REASON not in version.tags
        model_id = run.tags[names.LOGGED_MODEL]
        # Not models:/<id>, which a SQL store looks up in MLflow's global tracking URI.
        source = self._store.call("get_logged_model", model_id).artifact_location
        version = self._store.call(
            "create_model_version",
            name,
            source,
            run_id=run.run_id,
            tags={names.TRIAL: candidate.trial_id, names.tag("model"): candidate.model},
            description=candidate.text,
            model_id=model_id,
            await_creation_for=0,
        )
        return version, True

    def _judge(self, folder: Path, holder: Any, judge: Callable[[Path, Path], Ruling]) -> Ruling:
        trial_id = holder.tags.get(names.TRIAL, holder.run_id)
        with tempfile.TemporaryDirectory(prefix="strictune-best-") as work:
            theirs = Path(work) / TRIALS / trial_id
            self._fetch(holder.run_id, LOCK, theirs)
            lock = read_lock(theirs)
            assert lock is not None
            split = lock.evaluation_key["split"]
            self._fetch(holder.run_id, f"eval/{split}/samples.parquet", theirs)
            # Only finished trials have versions.
            write_outcome(theirs, Outcome(state="FINISHED"))
            return judge(folder, theirs)

    def _fetch(self, run_id: str, name: str, folder: Path) -> None:
        place = (folder / name).parent
        place.mkdir(parents=True, exist_ok=True)
        # Without a folder of its own MLflow hands out the file where it lies.
        found = Path(self._store.call("download_artifacts", run_id, name, str(place)))
        if found != folder / name:
            shutil.move(found, folder / name)
