"""The model registry: one registered model per task and base model, with the alias ``best``.

A sweep's candidate becomes a version of it. The alias moves only by a verdict: the first time
because the candidate is better than its baseline, later because it is better than the version
that holds the alias, on the same prompts. The caller names the candidates and
compares the two; this module fetches the records of the holder from the store, wherever it was
trained.

Load it with ``mlflow.artifacts.download_artifacts("models:/strict_json-tiny@best")``: a folder
in PEFT's format.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from strictune.config.naming import short_model_name
from strictune.errors import StorageError
from strictune.records import LOCK, TRIALS, Outcome, read_lock, write_outcome
from strictune.tracking import names
from strictune.tracking.identity import read_identity
from strictune.tracking.store import StoredRun, TrackingStore

if TYPE_CHECKING:
    from analysis.compare import Challenge

__all__ = ["Candidate", "Promotion", "promote"]

BEST = "best"


class Candidate(NamedTuple):
    """The adapter of a sweep that may be the best of its base model."""

    model: str
    trial_id: str
    text: str
    """The verdict that makes it a candidate."""


class Promotion(NamedTuple):
    """What was done with a candidate."""

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
    judge: Callable[[Path, Path], "Challenge"],
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
        StorageError: The store does not answer or lacks a run, or the holder's records cannot be
            read.
    """
    identity = read_identity(sweep_dir)
    if identity is None or not candidates:
        return []
    store = TrackingStore.open(tracking_uri, out_dir=sweep_dir.absolute().parent)
    runs = store.find_runs(
        store.experiment(names.experiment_name(task)), {names.SWEEP_ID: identity.sweep_id}
    )
    by_trial = {run.tags.get(names.TRIAL): run for run in runs}
    done = []
    for candidate in candidates:
        run = by_trial.get(candidate.trial_id)
        if run is None or names.LOGGED_MODEL not in run.tags:
            raise StorageError(f"the tracking store lacks the adapter of {candidate.trial_id}.")
        name = f"{task}-{short_model_name(candidate.model)}"
        holder = _holder(store, name, about=f"LoRA adapters of {candidate.model} for {task}")
        version = _version(store, name, candidate, run)
        is_best = holder is None or holder.run_id == run.run_id
        found = version.tags.get(names.REASON)
        if found is None or holder is None:  # Else this version was compared before.
            found = candidate.text
            if not is_best:
                folder = sweep_dir / TRIALS / candidate.trial_id
                is_best, found = _ruled(store, folder, holder, judge)
            if is_best:
                store.call("set_registered_model_alias", name, BEST, version.version)
            # Last: a version with a reason counts as compared.
            tag = (names.REASON, names.cut(found))
            store.call("set_model_version_tag", name, version.version, *tag)
        done.append(Promotion(name, str(version.version), candidate.trial_id, is_best, found))
    return done


def _holder(store: TrackingStore, name: str, *, about: str) -> Any:
    """Return the version that holds the alias; None without one. Creates the model."""
    found = store.call("search_registered_models", filter_string=f"name = '{name}'")
    if not found:
        about = f"{about}; the alias {BEST} moves by verdicts alone."
        store.call("create_registered_model", name, description=about)
        return None
    version = dict(found[0].aliases).get(BEST)
    return version and store.call("get_model_version", name, version)


def _version(store: TrackingStore, name: str, candidate: Candidate, run: StoredRun) -> Any:
    """Return the candidate's version, created if it is not there."""
    wanted = f"name = '{name}' and run_id = '{run.run_id}'"
    for version in store.call("search_model_versions", wanted):
        return version
    model_id = run.tags[names.LOGGED_MODEL]
    # Not models:/<id>, which a SQL store looks up in MLflow's global tracking URI.
    source = store.call("get_logged_model", model_id).artifact_location
    return store.call(
        "create_model_version",
        name,
        source,
        run_id=run.run_id,
        tags={names.TRIAL: candidate.trial_id, names.tag("model"): candidate.model},
        description=candidate.text,
        model_id=model_id,
        await_creation_for=0,
    )


def _ruled(
    store: TrackingStore, folder: Path, holder: Any, judge: Callable[[Path, Path], "Challenge"]
) -> tuple[bool, str]:
    """Fetch the holder's records and have the candidate in ``folder`` judged against them."""

    def fetch(name: str) -> None:
        place = (theirs / name).parent
        place.mkdir(parents=True, exist_ok=True)
        # Without a folder of its own MLflow hands out the file where it lies.
        found = Path(store.call("download_artifacts", holder.run_id, name, str(place)))
        if found != theirs / name:
            shutil.move(found, theirs / name)

    with tempfile.TemporaryDirectory(prefix="strictune-best-") as work:
        theirs = Path(work) / TRIALS / holder.tags.get(names.TRIAL, holder.run_id)
        fetch(LOCK)
        lock = read_lock(theirs)
        assert lock is not None
        fetch(f"eval/{lock.evaluation_key['split']}/samples.parquet")
        write_outcome(theirs, Outcome(state="FINISHED"))  # Only finished trials have versions.
        ruling = judge(folder, theirs)
        return ruling.is_better, ruling.text
