"""The mirror against a real SQLite store: what a user finds in MLflow."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from processes import wait_for
from tracking_fakes import SPEC, FakeSweep, FakeTrial, StoredRuns

from strictune.errors import StorageError
from strictune.tracking import names
from strictune.tracking.mirror import Mirror, replay
from strictune.tracking.reader import SweepReader
from strictune.tracking.store import TrackingStore
from trainables.records import TrialRecords


@pytest.fixture
def sweep(tmp_path: Path) -> FakeSweep:
    return FakeSweep(tmp_path)


def test_runs_appear_once_their_trials_have_started(sweep: FakeSweep) -> None:
    (sweep.trial("t2").path / "lock.json").unlink()
    with Mirror(sweep.path, sweep.uri) as mirror:
        assert mirror.sync().num_runs == 1
        trial = sweep.trial("t1")
        trial.log([1, 2])
        trial.checkpoint(2)
        report = mirror.sync()
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    assert (report.num_runs, report.num_points) == (2, 4)
    assert run.info.run_name == "tiny · think · three-stage · t1"
    assert run.info.status == "RUNNING"
    assert run.data.tags["mlflow.parentRunId"] == stored.one("sweep").info.run_id
    assert stored.points(run) == [(1, 1.0), (2, 2.0)]


def test_tags_and_params_say_what_a_trial_is(sweep: FakeSweep) -> None:
    sweep.trial("t1")
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.sync()
    run = StoredRuns(sweep.uri).one("trial")
    tags = {
        key.removeprefix("strictune."): value
        for key, value in run.data.tags.items()
        if key.startswith("strictune.")
    }
    expected = {
        "kind": "trial",
        "sweep": "sweep",
        "trial": "t1",
        "task": "strict_json",
        "cell": "tiny · think · three-stage",
        "model": "builtin:tiny",
        "thinking": "true",
        "curriculum": "three_stage",
        "seed": "1",
        "baseline": "b" * 16,
    }
    assert {key: tags.get(key) for key in expected} == expected
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.data.params["grpo.learning_rate"] == "1e-05"
    assert run.data.params["rewards_no_think"] == "null"


def test_a_second_pass_writes_only_what_has_changed(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log([1, 2, 3])
    trial.end()
    sweep.baseline().end()
    first = replay(sweep.path, sweep.uri)
    again = replay(sweep.path, sweep.uri)
    assert first.num_points == 6
    assert (again.num_runs, again.num_points, again.num_files) == (3, 0, 0)
    trial.write("eval/test/summary.json", {"measured": "again"})
    assert replay(sweep.path, sweep.uri).num_files > 0


def test_what_may_be_rolled_back_is_not_copied(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log([1, 2])
    trial.checkpoint(2)
    trial.log([3])
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.sync()
    stored = StoredRuns(sweep.uri)
    assert stored.points(stored.one("trial")) == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize(
    ("is_final", "num_lines"),
    [pytest.param(False, 2, id="resumes"), pytest.param(True, 3, id="ends")],
)
def test_a_failed_trial_may_resume_until_the_sweep_ends(
    sweep: FakeSweep, is_final: bool, num_lines: int
) -> None:
    trial = sweep.trial()
    trial.log([1, 2])
    trial.checkpoint(2)
    trial.log([3])
    trial.end("FAILED")
    (record,) = SweepReader(sweep.path).read(is_final=is_final).runs
    assert (trial.path / "metrics.jsonl").read_bytes()[: record.end_bytes].count(b"\n") == num_lines


def test_a_killed_and_resumed_trial_keeps_its_run_and_each_step_once(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log([1, 2])
    trial.checkpoint(2)
    trial.log([3, 4])
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    killed = stored.one("trial")
    assert killed.info.status == "KILLED"
    assert killed.data.tags["strictune.reason"]

    trial.roll_back()
    trial.log([3, 4], attempt=1)
    trial.checkpoint(4)
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.sync()
    resumed = stored.one("trial")
    assert resumed.info.run_id == killed.info.run_id
    assert resumed.info.status == "RUNNING"
    assert "strictune.reason" not in resumed.data.tags
    assert stored.one("sweep").info.status == "RUNNING"
    assert stored.points(resumed) == [(1, 1.0), (2, 2.0), (3, 3.1), (4, 4.1)]


def test_a_failed_trial_shows_its_last_steps_and_is_written_anew_if_it_resumes(
    sweep: FakeSweep,
) -> None:
    trial = sweep.trial()
    trial.log([1, 2])
    trial.checkpoint(2)
    trial.log([3, 4])
    trial.end("FAILED", reason="out of memory")
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    failed = stored.one("trial")
    assert [step for step, _ in stored.points(failed)] == [1, 2, 3, 4]
    assert failed.data.tags["strictune.reason"] == "out of memory"

    trial.roll_back()
    trial.log([3, 4, 5], attempt=1)
    trial.end(steps=5)
    replay(sweep.path, sweep.uri)
    finished = stored.one("trial")
    assert stored.points(finished) == [(1, 1.0), (2, 2.0), (3, 3.1), (4, 4.1), (5, 5.1)]
    assert finished.info.status == "FINISHED"


@pytest.mark.parametrize("logged_first", ["metrics", "nothing"])
def test_a_crash_in_the_middle_of_a_batch_doubles_nothing(
    sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch, logged_first: str
) -> None:
    trial = sweep.trial()
    trial.log(range(1, 6))
    trial.end()
    log = TrackingStore.log

    def crash(self: TrackingStore, run_id: str, **kwargs: object) -> None:
        if kwargs.get("points"):
            if logged_first == "metrics":
                log(self, run_id, points=kwargs["points"])
            raise KeyboardInterrupt
        log(self, run_id, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(TrackingStore, "log", crash)
        with pytest.raises(KeyboardInterrupt):
            replay(sweep.path, sweep.uri)
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    assert [step for step, _ in stored.points(stored.one("trial"))] == [1, 2, 3, 4, 5]


def test_a_mirror_that_was_killed_leaves_nothing_in_the_way(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log(range(600), num_keys=10)
    trial.end(steps=600)
    program = (
        "import sys; from pathlib import Path; from strictune.tracking import replay; "
        "replay(Path(sys.argv[1]), sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(sweep.path), sweep.uri])
    try:
        with contextlib.closing(sqlite3.connect(sweep.uri.removeprefix("sqlite:///"))) as store:
            wait_for(lambda: store.execute("SELECT count(*) FROM metrics").fetchone()[0])
    finally:
        process.kill()
        process.wait()
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    assert [step for step, _ in stored.points(run)] == list(range(600))
    assert run.info.status == "FINISHED"


def test_a_sweep_started_anew_in_an_emptied_folder_is_another_one(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log([1, 2])
    trial.end()
    replay(sweep.path, sweep.uri)
    shutil.rmtree(sweep.path)
    anew = FakeSweep(sweep.path.parents[1])
    trial = anew.trial()
    trial.log([1], attempt=1)
    trial.end()
    replay(anew.path, anew.uri)
    assert len(StoredRuns(sweep.uri).all()) == 4


def test_a_run_ends_as_its_outcome_says(sweep: FakeSweep) -> None:
    reasons = {"FINISHED": None, "FAILED": "why", "KILLED": "why"}
    for state, reason in reasons.items():
        trial = sweep.trial(state)
        trial.log([1])
        trial.end(state, reason=reason)
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.sync()
    stored = StoredRuns(sweep.uri)
    for state, reason in reasons.items():
        run = stored.one("trial", state)
        assert (run.info.status, run.info.end_time) == (state, 1_000_000_009_000)
        assert run.data.tags.get("strictune.reason") == reason


def test_a_trial_that_fails_before_a_whole_line_is_logged_is_a_failed_run(
    sweep: FakeSweep,
) -> None:
    logs = {
        "nothing": b"",
        "first": b'{"step": 1, "ti',
        "second": b'{"step": 1, "time": 1, "metrics": {"a": 1}}\n{"ste',
    }
    for trial_id, torn in logs.items():
        trial = sweep.trial(trial_id)
        TrialRecords(trial.path).end("FAILED", "the model was not found")
        (trial.path / "metrics.jsonl").write_bytes(torn)
    report = replay(sweep.path, sweep.uri)
    assert (report.problems, report.num_points) == ((), 1)
    stored = StoredRuns(sweep.uri)
    for trial_id in logs:
        run = stored.one("trial", trial_id)
        assert run.info.status == "FAILED"
        assert run.data.tags["strictune.reason"] == "the model was not found"
    assert stored.one("sweep").data.tags["strictune.num_trials_failed"] == "3"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param({"t1": "FINISHED", "t2": "FINISHED"}, "FINISHED", id="all-finished"),
        pytest.param({"t1": "FINISHED", "t2": "FAILED"}, "FINISHED", id="one-failed"),
        pytest.param({"t1": "FAILED", "t2": "FAILED"}, "FAILED", id="all-failed"),
        pytest.param({"t1": "FINISHED"}, "KILLED", id="one-never-started"),
        pytest.param({"t1": "FINISHED", "t2": None}, "KILLED", id="one-left-open"),
    ],
)
def test_a_sweep_ends_as_its_trials_did(
    sweep: FakeSweep, states: dict[str, str | None], expected: str
) -> None:
    for trial_id, state in states.items():
        trial = sweep.trial(trial_id)
        if state:
            trial.end(state)
    view = SweepReader(sweep.path).read(is_final=True)
    assert view.sweep.status == expected
    assert [run.status for run in view.runs] == [state or "KILLED" for state in states.values()]


def test_the_caller_may_say_how_a_sweep_ended(sweep: FakeSweep) -> None:
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.close("FAILED")
    assert StoredRuns(sweep.uri).one("sweep").info.status == "FAILED"


def test_a_run_whose_folder_was_removed_ends(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.sync()
        shutil.rmtree(trial.path)
        mirror.close()
    assert StoredRuns(sweep.uri).one("trial").info.status == "KILLED"


def test_artifacts_arrive_when_a_trial_has_ended_and_checkpoints_never(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.end()
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    assert stored.files(stored.one("trial")) == {
        "adapter/final/adapter_config.json",
        "eval/test/summary.json",
        "eval/test/samples.parquet",
        "trial.yaml",
        "lock.json",
    }
    assert (sweep.path.parent / "mlartifacts").is_dir()


def test_a_run_ends_even_where_its_artifacts_are_refused(
    sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = sweep.trial()
    trial.log([1])
    trial.end()

    def refuse(*args: object) -> None:
        raise StorageError("the bucket is full")

    monkeypatch.setattr(TrackingStore, "upload", refuse)
    assert "the bucket is full" in replay(sweep.path, sweep.uri).problems[0]
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    assert (run.info.status, stored.points(run)) == ("FINISHED", [(1, 1.0)])


def test_what_others_wrote_into_a_run_is_left_alone(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    stored.client.set_tag(stored.one("trial").info.run_id, "mine", "y")
    trial.end()
    replay(sweep.path, sweep.uri)
    assert stored.one("trial").data.tags["mine"] == "y"


def test_the_comparison_and_its_verdict_stand_in_the_run(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.end(steps=40)
    replay(sweep.path, sweep.uri)
    metrics = {"delta/strict/pass_at_1_pp": 12.5, "delta/strict/pass_at_1_pp_lo": 3.0}
    trial.write("delta.json", {"metrics": metrics, "verdict": "better", "text": "+12.5 points"})
    replay(sweep.path, sweep.uri)
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    assert stored.points(run, "delta/strict/pass_at_1_pp") == [(40, 12.5)]
    assert run.data.metrics["delta/strict/pass_at_1_pp_lo"] == 3.0
    assert run.data.tags["strictune.verdict"] == "better"
    assert run.data.tags["mlflow.note.content"] == "+12.5 points"


def test_the_verdicts_become_the_sweeps_description(sweep: FakeSweep) -> None:
    (sweep.path / "verdicts.md").write_text("| trial | delta |\n", encoding="utf-8")
    (sweep.path / "verdicts.json").write_text("{}")
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    run = stored.one("sweep")
    assert run.data.tags["mlflow.note.content"] == "| trial | delta |\n"
    assert stored.files(run) == {"sweep.yaml", "plan.json", "verdicts.json", "verdicts.md"}


def test_points_of_a_search_are_child_runs_of_their_sweep(sweep: FakeSweep) -> None:
    point = FakeTrial(sweep.path / "trials" / "p003", spec={**SPEC, "variant": "p003"})
    point.log([1])
    point.end("KILLED", reason="stopped early by asha")
    for name in ("studies.json", "findings.md", "findings.json", "findings_figures/slices.svg"):
        (sweep.path / name).parent.mkdir(exist_ok=True)
        (sweep.path / name).write_text("found")
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    run, parent = stored.one("trial", "p003"), stored.one("sweep")
    assert run.info.run_name == "tiny · think · three-stage · p003 · seed 1"
    assert run.data.tags["strictune.cell"] == "tiny · think · three-stage · p003"
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags["strictune.reason"] == "stopped early by asha"
    assert parent.data.tags["strictune.num_trials"] == "3"
    assert "findings_figures/slices.svg" in stored.files(parent)
    # The planned trials have not run, whatever the points did.
    assert parent.info.status == "KILLED"


def test_a_baseline_is_a_run_of_its_own(sweep: FakeSweep) -> None:
    baseline = sweep.baseline()
    baseline.log([0])
    baseline.end(steps=0)
    replay(sweep.path, sweep.uri)
    run = StoredRuns(sweep.uri).one("baseline")
    assert run.info.run_name == "baseline · tiny · think"
    assert run.data.tags["strictune.baseline"] == "b" * 16
    assert "strictune.seed" not in run.data.tags
    assert run.data.metrics["train/key0"] == 0.0


def test_a_control_that_is_measured_after_the_sweep_is_a_run_beside_its_baseline(
    sweep: FakeSweep,
) -> None:
    sweep.baseline().end(steps=0)
    replay(sweep.path, sweep.uri)
    control = sweep.control()
    control.log([0])
    control.end(steps=0)
    assert replay(sweep.path, sweep.uri).num_runs == 3
    stored = StoredRuns(sweep.uri)
    run = stored.one("control")
    assert run.info.run_name == "grammar · tiny · think"
    assert run.data.tags["strictune.control"] == "c" * 16
    assert "strictune.baseline" not in run.data.tags
    assert run.data.tags["mlflow.parentRunId"] == stored.one("sweep").info.run_id
    assert "eval/test/samples.parquet" in stored.files(run)


def test_a_folder_that_cannot_be_read_is_a_problem_and_the_others_go_on(sweep: FakeSweep) -> None:
    broken = sweep.trial("t1")
    (broken.path / "progress.json").write_text("{")
    trial = sweep.trial("t2")
    trial.log([1])
    trial.end()
    report = replay(sweep.path, sweep.uri)
    assert report.num_points == 2
    (problem,) = report.problems
    assert "t1" in problem
    assert "progress.json" in problem


def test_a_folder_that_is_just_being_copied_is_waited_for(sweep: FakeSweep) -> None:
    baseline = sweep.baseline()
    spec = (baseline.path / "trial.yaml").read_bytes()
    (baseline.path / "trial.yaml").unlink()
    with Mirror(sweep.path, sweep.uri) as mirror:
        assert mirror.sync().is_complete
        (problem,) = mirror.close().problems
        assert problem.endswith("trial.yaml is missing")
        (baseline.path / "trial.yaml").write_bytes(spec)
        assert mirror.close().num_runs == 2


def test_a_run_that_the_store_refuses_does_not_hold_up_the_others(sweep: FakeSweep) -> None:
    for trial_id in ("t1", "t2"):
        trial = sweep.trial(trial_id)
        trial.log([1])
        trial.checkpoint(1)
    stored = StoredRuns(sweep.uri)
    with Mirror(sweep.path, sweep.uri) as mirror:
        mirror.sync()
        stored.client.delete_run(stored.one("trial", "t1").info.run_id)
        for trial_id in ("t1", "t2"):
            trial = sweep.trial(trial_id)
            trial.log([2])
            trial.checkpoint(2)
        report = mirror.sync()
        assert [problem.partition(":")[0] for problem in report.problems] == ["trial=t1"]
        assert stored.points(stored.one("trial", "t2")) == [(1, 1.0), (2, 2.0)]
        assert mirror.sync().is_complete
    assert stored.points(stored.one("trial", "t1")) == [(1, 1.0), (2, 2.0)]


def test_a_run_created_twice_is_kept_once(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log([1])
    trial.end()
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    run = stored.one("trial")
    bare = {key: value for key, value in run.data.tags.items() if key != "strictune.mirrored"}
    stored.client.create_run(run.info.experiment_id, tags=bare)
    replay(sweep.path, sweep.uri)
    assert stored.one("trial").info.run_id == run.info.run_id


def test_another_store_gets_everything(sweep: FakeSweep) -> None:
    trial = sweep.trial()
    trial.log([1, 2])
    trial.end()
    replay(sweep.path, sweep.uri)
    other = FakeSweep(sweep.path.parents[1] / "other").uri
    assert replay(sweep.path, other).num_points == 4
    assert json.loads((sweep.path / "tracking.json").read_text())["tracking_uri"] == other


def test_a_second_mirror_is_refused(sweep: FakeSweep) -> None:
    with (
        Mirror(sweep.path, sweep.uri),
        pytest.raises(StorageError, match="another process copies this sweep"),
    ):
        replay(sweep.path, sweep.uri)
    assert replay(sweep.path, sweep.uri).is_complete


def test_a_deleted_experiment_is_refused_with_its_cure(sweep: FakeSweep) -> None:
    replay(sweep.path, sweep.uri)
    stored = StoredRuns(sweep.uri)
    experiment = stored.client.get_experiment_by_name(names.experiment_name("strict_json"))
    stored.client.delete_experiment(experiment.experiment_id)
    with pytest.raises(StorageError, match="Restore it"):
        replay(sweep.path, sweep.uri)


def test_a_store_is_created_in_a_folder_that_is_not_there_yet(
    sweep: FakeSweep, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{sweep.path.parents[1] / 'a new folder' / 'mlflow.db'}"
    assert replay(sweep.path, uri).num_runs == 1
    assert capfd.readouterr().err == ""


def test_a_store_that_cannot_be_created_is_refused_before_the_sweep(sweep: FakeSweep) -> None:
    (sweep.path.parent / "occupied").write_text("a file where a folder should be")
    uri = f"sqlite:///{sweep.path.parent / 'occupied' / 'mlflow.db'}"
    with pytest.raises(StorageError, match="occupied"):
        Mirror(sweep.path, uri).open()
    with Mirror(sweep.path, sweep.uri):
        pass


def test_only_the_sweeps_own_runs_are_touched(sweep: FakeSweep) -> None:
    other = FakeSweep(sweep.path.parents[1] / "elsewhere")
    for folder in (sweep, other):
        trial = folder.trial()
        trial.log([1])
        trial.end()
        replay(folder.path, sweep.uri)
    parents = [
        run for run in StoredRuns(sweep.uri).all() if run.data.tags["strictune.kind"] == "sweep"
    ]
    assert len({run.data.tags["strictune.sweep_id"] for run in parents}) == 2
