"""The searcher without Ray: what it makes of trials whose processes died."""

from pathlib import Path

from optuna.trial import TrialState
from study_fakes import open_study, search_sweep

from strictune.launch.folder import SweepFolder
from strictune.launch.study.searcher import StudySearcher
from strictune.launch.trials import Runner
from strictune.packing import Machine
from strictune.records import Grant, read_outcome


def test_a_dead_process_fails_its_point_only_once_the_search_ended_by_itself(
    tmp_path: Path,
) -> None:
    folder = SweepFolder(tmp_path / "runs" / "s")
    study = open_study(search_sweep(tmp_path), folder)
    grant = Grant(cpus=1, gpus=0, at_once=1)
    runner = Runner(
        folder=folder,
        driver="test",
        machines=[Machine(cpus=2, memory_gib=8)],
        step_timeout_s=None,
        max_concurrent=None,
    )
    searcher = StudySearcher([study], runner, {study.name: grant}, on_change=lambda: None)
    attempt = searcher.suggest("first")
    assert isinstance(attempt, dict)
    searcher.on_trial_complete("first", error=True)
    trial = Path(attempt["attempt"]["folder"])
    # An interruption may still be on its way; what is open then is resumed.
    assert read_outcome(trial) is None
    assert [point.state for point in study.own_points] == [TrialState.RUNNING]

    searcher.record_lost()
    outcome = read_outcome(trial)
    assert outcome is not None
    assert outcome.state == "FAILED"
    assert [point.state for point in study.own_points] == [TrialState.FAIL]
