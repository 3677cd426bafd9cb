"""Data sets, logged models and the alias ``best``, against a real SQLite store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tracking_fakes import FakeSweep, StoredRuns

from strictune.errors import StorageError
from strictune.tracking import Promotion, promote
from strictune.tracking.mirror import replay
from strictune.tracking.registry import Candidate
from strictune.tracking.store import TrackingStore

KEY = {"suite": "5" * 64, "split": "test"}
NAME = "strict_json-tiny"


class Said(NamedTuple):
    is_better: bool
    text: str


def finished(root: Path, trial_id: str = "t1") -> FakeSweep:
    """A sweep with one finished trial, in a store that others share."""
    sweep = FakeSweep(root, trial_ids=[trial_id])
    trial = sweep.trial(trial_id)
    trial.lock(data_hash="d" * 64, evaluation_key=KEY)
    trial.log([1, 2])
    with (trial.path / "metrics.jsonl").open("a") as lines:
        metrics = {"final/strict/pass_at_1": 0.25}
        lines.write(json.dumps({"step": 4, "time": 1e9, "metrics": metrics}) + "\n")
    trial.end()
    replay(sweep.path, sweep.uri)
    return sweep


def worse(ours: Path, theirs: Path) -> Said:
    return Said(False, "")


def promoted(
    sweep: FakeSweep, trial_id: str = "t1", *, judge: Callable[[Path, Path], Said] = worse
) -> list[Promotion]:
    best = Candidate("builtin:tiny", trial_id, "this run is better than its baseline.")
    return promote(sweep.path, sweep.uri, [best], task="strict_json", judge=judge)


def test_a_run_names_the_data_that_it_read(tmp_path: Path) -> None:
    sweep = finished(tmp_path)
    replay(sweep.path, sweep.uri)
    inputs = StoredRuns(sweep.uri).one("trial").inputs.dataset_inputs
    found = {(used.dataset.name, used.dataset.digest, used.tags[0].value) for used in inputs}
    assert found == {
        ("strict_json/train", "d" * 16, "training"),
        ("strict_json/test", "5" * 16, "evaluation"),
    }
    assert len(inputs) == 2
    assert json.loads(inputs[0].dataset.source)["task"]["kind"] == "strict_json"


def test_a_finished_adapter_is_a_logged_model_with_its_results(tmp_path: Path) -> None:
    sweep = finished(tmp_path)
    delta = {"delta/strict/pass_at_1_pp": 12.5}
    (sweep.path / "trials" / "t1" / "delta.json").write_text(
        json.dumps({"metrics": delta, "verdict": "better", "text": "+12.5 points"})
    )
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    [model] = stored.client.search_logged_models([run.info.experiment_id])
    assert (model.name, model.status.value, model.source_run_id) == ("t1", "READY", run.info.run_id)
    assert {metric.key: metric.value for metric in model.metrics} == {
        "final/strict/pass_at_1": 0.25,
        "delta/strict/pass_at_1_pp": 12.5,
    }
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    # The run's own history is not written twice by what the model shares with it.
    assert stored.points(run, "final/strict/pass_at_1") == [(4, 0.25)]


def test_a_trial_that_failed_has_no_logged_model(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path)
    sweep.trial("t1").end("FAILED", reason="out of memory")
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    assert not stored.client.search_logged_models([stored.one("trial").info.experiment_id])


def test_a_model_whose_upload_was_cut_short_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = TrackingStore.call

    def die_before_the_end(self: TrackingStore, method: str, *args: object, **kw: object) -> object:
        if method == "finalize_logged_model":
            raise KeyboardInterrupt
        return call(self, method, *args, **kw)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrackingStore, "call", die_before_the_end)
        finished(tmp_path)
    sweep = FakeSweep(tmp_path, trial_ids=["t1"])
    assert replay(sweep.path, sweep.uri).is_complete
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    [model] = stored.client.search_logged_models([run.info.experiment_id])
    assert model.status.value == "READY"
    assert len(run.outputs.model_outputs) == 1


def test_the_first_candidate_is_best_and_can_be_loaded(tmp_path: Path) -> None:
    sweep = finished(tmp_path)
    for _ in range(2):
        [done] = promoted(sweep)
        assert (done.name, done.version, done.is_best) == (NAME, "1", True)
    import mlflow

    mlflow.set_tracking_uri(sweep.uri)
    folder = mlflow.artifacts.download_artifacts(f"models:/{NAME}@best", dst_path=str(tmp_path))
    assert (Path(folder) / "adapter_config.json").is_file()


@pytest.mark.parametrize("is_better", [True, False])
def test_the_alias_moves_by_a_verdict_alone(tmp_path: Path, is_better: bool) -> None:
    first = finished(tmp_path)
    promoted(first)
    (tmp_path / "runs" / "sweep").rename(tmp_path / "runs" / "first")
    second = finished(tmp_path, "t2")
    seen: list[tuple[Path, str]] = []

    def judge(ours: Path, theirs: Path) -> Said:
        assert (theirs / "eval" / "test" / "samples.parquet").is_file()
        seen.append((ours, theirs.name))
        return Said(is_better, "what was found")

    for _ in range(2):
        [done] = promoted(second, "t2", judge=judge)
        assert (done.version, done.is_best, done.text) == ("2", is_better, "what was found")
    assert seen == [(second.path / "trials" / "t2", "t1")]
    stored = StoredRuns(second.uri).client.get_registered_model(NAME)
    assert stored.aliases == {"best": 2 if is_better else 1}


def test_a_store_without_the_adapter_is_said_so(tmp_path: Path) -> None:
    sweep = finished(tmp_path)
    with pytest.raises(StorageError, match="lacks the adapter of t9"):
        promoted(sweep, "t9")
