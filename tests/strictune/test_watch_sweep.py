import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import searched_sweep
from growth import cpu_s
from watched_sweep import START, WatchedSweep

from strictune.config import dump_yaml, expand, load_sweep
from strictune.launch.progress import describe
from strictune.watch import Driver, SweepSnapshot, SweepWatch, TrialRow, read_driver

ROOT = Path(__file__).resolve().parents[2]
HOST = socket.gethostname()
LONG_AGO = START - 3600


@pytest.fixture
def sweep(tmp_path: Path) -> WatchedSweep:
    return WatchedSweep(tmp_path)


def snapshot(sweep: WatchedSweep, *, now: float = START) -> SweepSnapshot:
    return SweepWatch(sweep.path).snapshot(now=now)


def own_state(sweep: WatchedSweep) -> TrialRow:
    """The first trial's state, whoever runs the sweep."""
    return SweepWatch(sweep.path).rows()[0]


# States of a trial.


def test_a_planned_trial_waits(sweep: WatchedSweep) -> None:
    sweep.trial()
    row = own_state(sweep)
    assert (row.state, row.step, row.num_steps) == ("waiting", 0, 30)
    assert (row.reward, row.held_out_frac, row.time_left_s, row.num_retries) == (None,) * 4


def test_a_trial_that_loads_its_model_is_starting_and_its_first_start_is_no_retry(
    sweep: WatchedSweep,
) -> None:
    trial = sweep.trial()
    (trial.path / "lock.json").write_text("{}")
    assert own_state(sweep).state == "starting"
    trial.start()
    row = own_state(sweep)
    assert (row.state, row.num_retries, row.reason) == ("starting", 0, None)


def test_a_trial_that_logs_steps_trains(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.start()
    trial.train(1, 5, **{"gpu/peak_gib": 3.5})
    row = own_state(sweep)
    assert (row.state, row.step, row.num_steps) == ("training", 5, 30)
    assert (row.reward, row.training_frac, row.peak_gib) == (0.05, 0.25, 3.5)
    assert row.updated == START + 10


def test_a_stage_ends_with_its_evaluation(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.train(1, 5)
    trial.evaluate(5, 0.5)  # Within the stage.
    assert own_state(sweep).state == "training"
    trial.train(6, 10)
    assert own_state(sweep).state == "evaluating"
    trial.evaluate(10, 0.5)
    assert own_state(sweep).state == "training"


def test_after_the_last_stage_the_final_split_is_evaluated(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.train(1, 30)
    trial.evaluate(30, 0.5)
    assert own_state(sweep).state == "evaluating"
    trial.log(30, {"final/strict/pass_at_1": 0.9})
    row = own_state(sweep)
    assert row.state == "evaluating"
    assert row.held_out_frac == 0.5


def test_a_process_that_died_is_a_retry_with_its_reason(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.start()
    trial.train(1, 5)
    trial.start(time=START + 60, why="its process died")
    row = own_state(sweep)
    assert (row.state, row.num_retries, row.reason) == ("starting", 1, "its process died")
    trial.train(40, 41)
    assert own_state(sweep).state == "training"


def test_a_half_written_start_is_not_counted(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.start()
    with (trial.path / "attempts.jsonl").open("a") as lines:
        lines.write('{"time": 17')
    assert own_state(sweep).num_retries == 0


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "KILLED"])
def test_an_outcome_is_the_trials_state(sweep: WatchedSweep, state: str) -> None:
    trial = sweep.trial()
    trial.train(1, 12)
    trial.end(state, reason="because")
    row = own_state(sweep)
    assert (row.state, row.reason, row.step) == (state, "because", 12)
    assert row.has_ended
    assert row.time_left_s is None


def test_a_trial_that_never_logged_has_its_outcomes_steps(sweep: WatchedSweep) -> None:
    sweep.trial().end("FAILED", steps=7)
    assert own_state(sweep).step == 7


def test_an_outcome_that_cannot_be_read_says_so(sweep: WatchedSweep) -> None:
    (sweep.trial().path / "outcome.json").write_text("{")
    row = own_state(sweep)
    assert row.state == "UNREADABLE"
    assert row.reason is not None
    assert "outcome.json: the document: Invalid JSON" in row.reason


def test_an_outcome_that_is_removed_opens_the_trial_again(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.train(1, 3)
    trial.end("FAILED")
    watch = SweepWatch(sweep.path)
    assert watch.rows()[0].state == "FAILED"
    (trial.path / "outcome.json").unlink()
    assert watch.rows()[0].state == "training"


# Speed, memory and time left.


def test_tokens_per_second_are_those_between_logged_steps(sweep: WatchedSweep) -> None:
    sweep.trial().train(1, 8)
    row = own_state(sweep)
    assert row.step_s == pytest.approx(2.0)
    assert row.tokens_per_s == pytest.approx(50.0)


def test_counting_afresh_in_the_next_stage_is_no_speed(sweep: WatchedSweep) -> None:
    sweep.trial().train(8, 13)
    assert own_state(sweep).tokens_per_s == pytest.approx(50.0)


def test_steps_that_are_logged_in_groups_count_fully(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    for step in (5, 10):
        trial.train(step, step)
    assert own_state(sweep).tokens_per_s == pytest.approx(50.0)


def test_a_single_step_has_a_time_but_no_token_speed(sweep: WatchedSweep) -> None:
    sweep.trial().train(1, 1)
    row = own_state(sweep)
    assert (row.step_s, row.tokens_per_s) == (2.0, None)


@pytest.mark.parametrize(
    ("scoring_s", "is_said"),
    [pytest.param(1.9, True, id="most"), pytest.param(0.9, False, id="less")],
)
def test_progress_says_where_scoring_takes_most_of_a_step(
    sweep: WatchedSweep, scoring_s: float, is_said: bool
) -> None:
    sweep.trial().train(1, 8, **{"time/scoring_s": scoring_s})
    line = describe(own_state(sweep), primary_criterion="strict")
    assert "step 8/" in line
    assert line.endswith("2.0 s a step, most of it scoring (1.9 s)") is is_said


def test_memory_on_a_cpu_is_the_processs(sweep: WatchedSweep) -> None:
    sweep.trial().train(1, 1, **{"memory/peak_gib": 1.5})
    assert own_state(sweep).peak_gib == 1.5


def test_time_left_is_steps_until_an_evaluation_was_timed(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    trial.train(1, 5)
    assert own_state(sweep).time_left_s == pytest.approx(25 * 2.0)
    trial.train(6, 10)
    assert own_state(sweep).time_left_s is None  # How long the evaluation takes is unknown.
    trial.evaluate(10, 0.5, seconds=30)
    # Twenty steps, the second stage's evaluation and the final one.
    assert own_state(sweep).time_left_s == pytest.approx(20 * 2.0 + 2 * 30)
    trial.train(11, 15)
    assert own_state(sweep).time_left_s == pytest.approx(15 * 2.0 + 2 * 30)


def test_time_left_runs_down_during_an_evaluation(sweep: WatchedSweep) -> None:
    sweep.driver(pid=os.getpid(), host="elsewhere.invalid", started=LONG_AGO)
    trial = sweep.trial()
    trial.train(1, 10)
    trial.evaluate(10, 0.5, seconds=30)
    trial.train(11, 30)
    last = START + 60
    for waited, left in ((0, 60), (20, 40), (100, 0)):
        assert snapshot(sweep, now=last + waited).trials[0].time_left_s == pytest.approx(left)


# The sweep's own state.


def run_by(sweep: WatchedSweep, who: str, *, started: float = LONG_AGO) -> None:
    if who == "alive":
        sweep.driver(pid=os.getpid(), host=HOST, started=time.time() + 60)
    elif who == "gone":
        sweep.driver(pid=2**22 + 1, host=HOST, started=started)
    elif who == "elsewhere":
        sweep.driver(pid=1, host="elsewhere.invalid", started=started)


@pytest.mark.parametrize(
    ("who", "open_state", "ended_state"),
    [
        pytest.param("alive", "running", "running", id="alive"),
        pytest.param("elsewhere", "running", "ended", id="elsewhere"),
        pytest.param("gone", "stopped", "ended", id="gone"),
        pytest.param("nobody", "stopped", "ended", id="nobody"),
    ],
)
def test_a_sweeps_state_follows_from_its_driver_and_its_trials(
    sweep: WatchedSweep, who: str, open_state: str, ended_state: str
) -> None:
    run_by(sweep, who)
    for trial_id in ("t0", "t1"):
        seen = snapshot(sweep)
        assert seen.state == open_state
        assert (seen.resume is not None) == (open_state == "stopped")
        sweep.trial(trial_id).end()
    seen = snapshot(sweep)
    assert seen.state == ended_state
    assert seen.resume is None


def test_a_search_has_ended_when_its_studies_have(tmp_path: Path) -> None:
    """Its plan is empty until the winners are confirmed: that says nothing."""

    def state(*states: str, has_studies: bool = True) -> str:
        folder = tmp_path / f"search-{len(list(tmp_path.iterdir()))}"
        points = [searched_sweep.point(index, state=state) for index, state in enumerate(states)]
        points.append(searched_sweep.point(9, is_from_before=True))
        searched_sweep.write_search(folder, points, num_trials=2)
        if not has_studies:
            (folder / "studies.json").unlink()
        return SweepWatch(folder).snapshot(now=START).state

    assert state(has_studies=False) == "stopped"
    assert state("finished") == "stopped", "one point to come"
    assert state("finished", "open") == "stopped"
    assert state("finished", "stopped early") == "ended"


@pytest.mark.parametrize("who", ["gone", "nobody"])
def test_what_a_dead_sweep_left_open_is_interrupted(sweep: WatchedSweep, who: str) -> None:
    run_by(sweep, who)
    sweep.trial("t0").train(1, 5)
    seen = snapshot(sweep)
    assert [row.state for row in seen.trials] == ["interrupted", "waiting"]
    assert seen.trials[0].time_left_s is None
    assert seen.num_by_state == {"interrupted": 1, "waiting": 1}
    assert ("is gone" in seen.why) == (who == "gone")


def test_what_a_resumed_sweep_has_not_taken_up_yet_waits(sweep: WatchedSweep) -> None:
    sweep.trial("t0").train(1, 5)
    run_by(sweep, "elsewhere", started=START + 1000)
    assert snapshot(sweep).trials[0].state == "waiting"
    sweep.trial("t0").start(time=START + 1010, why="resumed")
    assert snapshot(sweep).trials[0].state == "starting"


def test_the_command_to_resume_names_the_folder(sweep: WatchedSweep) -> None:
    runs = sweep.path.parent
    expected = f"strictune run {sweep.path}/sweep.yaml --resume --out {runs}"
    assert snapshot(sweep).resume == expected


def test_a_folder_of_another_name_cannot_be_resumed_from_itself(sweep: WatchedSweep) -> None:
    sweep.path = sweep.path.rename(sweep.path.with_name("moved"))
    assert snapshot(sweep).resume == "strictune run SWEEP.yaml --resume"


# The plan, and folders it does not hold.


def test_trials_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    sweep = WatchedSweep(tmp_path, trial_ids=("b", "a", "c"))
    assert [row.trial_id for row in snapshot(sweep).trials] == ["b", "a", "c"]


def test_a_trial_that_the_plan_gains_is_seen(sweep: WatchedSweep) -> None:
    watch = SweepWatch(sweep.path)
    assert len(watch.snapshot().trials) == 2
    sweep.plan(("t0", "t1", "t2"))
    os.utime(sweep.path / "plan.json", ns=(1, 1))
    assert len(watch.snapshot().trials) == 3


def test_a_trial_with_only_a_folder_is_read_from_its_spec(sweep: WatchedSweep) -> None:
    spec = expand(load_sweep(ROOT / "search_spaces" / "quickstart.yaml"))[0]
    trial = sweep.trial("drawn-by-a-search")
    (trial.path / "trial.yaml").write_text(dump_yaml(spec))
    sweep.trial("no-spec-yet")
    row = snapshot(sweep).trials[-1]
    assert (row.trial_id, row.name) == ("drawn-by-a-search", spec.display_name)
    assert row.num_steps == spec.grpo.max_steps
    for trial_id in ("t0", "t1"):
        sweep.trial(trial_id).end()
    assert snapshot(sweep).state == "ended"


def test_looking_writes_nothing(sweep: WatchedSweep) -> None:
    sweep.trial().train(1, 3)
    before = sorted(sweep.path.rglob("*"))
    snapshot(sweep)
    assert sorted(sweep.path.rglob("*")) == before
    assert not (sweep.path / "trials" / "t1").exists()


def test_a_second_look_at_many_long_trials_parses_nothing_again(tmp_path: Path) -> None:
    num_trials = 150
    sweep = WatchedSweep(tmp_path, trial_ids=[f"t{index}" for index in range(num_trials)])
    first = sweep.trial("t0")
    first.train(1, 300, **{f"train/key{key}": 0.123456789 for key in range(30)})
    lines = first.metrics_path.read_bytes().splitlines()
    for index in range(1, num_trials):
        sweep.trial(f"t{index}").metrics_path.hardlink_to(first.metrics_path)
    watch = SweepWatch(sweep.path)
    whole_s = cpu_s(lambda: [json.loads(line) for _ in range(num_trials) for line in lines])
    watch.snapshot()
    assert cpu_s(watch.snapshot) < whole_s / 8
    assert len(watch.snapshot().trials) == num_trials


# Metrics.


def test_a_second_look_adds_what_is_new(sweep: WatchedSweep) -> None:
    trial, watch = sweep.trial(), SweepWatch(sweep.path)
    trial.train(1, 10)
    trial.evaluate(10, 0.5)
    assert watch.rows()[0].held_out_frac == 0.5
    trial.train(11, 12)
    row = watch.rows()[0]
    assert (row.step, row.state, row.tokens_per_s) == (12, "training", 50.0)
    assert [found.frac for found in row.held_out] == [0.5]


def test_what_was_rolled_back_is_forgotten(sweep: WatchedSweep) -> None:
    trial, watch = sweep.trial(), SweepWatch(sweep.path)
    trial.train(1, 4)
    size = trial.metrics_path.stat().st_size
    trial.train(5, 10)
    trial.evaluate(10, 0.9)
    assert watch.rows()[0].state == "training"
    trial.roll_back(size)
    trial.train(5, 10)
    row = watch.rows()[0]
    assert (row.step, row.state, row.held_out) == (10, "evaluating", [])


def test_evaluations_in_a_long_file_are_found_in_order(sweep: WatchedSweep) -> None:
    trial = sweep.trial()
    for index, rate in enumerate((0.1, 0.2, 0.3)):
        trial.train(200 * index + 1, 200 * index + 200)
        trial.evaluate(200 * index + 200, rate)
    trial.log(600, {"eval/simple/strict/pass_at_1": 1.0, "eval/parsed/pass_at_1": 1.0})
    row = own_state(sweep)
    assert [found.frac for found in row.held_out] == [0.1, 0.2, 0.3]
    assert (row.step, row.step_s) == (600, 2.0)


# The process that runs the sweep.


def test_a_process_is_alive_until_it_ends_and_elsewhere_on_another_machine() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        driver = Driver(process.pid, HOST, time.time())
        assert driver.status() == "alive"
        # The number of a process that ended belongs to one that started later.
        assert driver._replace(started=time.time() - 3600).status() == "gone"
        assert driver._replace(host="elsewhere.invalid").status() == "elsewhere"
        process.kill()
        process.wait()
        assert driver.status() == "gone"


def test_another_users_process_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "create_time", refuse)
    assert Driver(os.getpid(), HOST, time.time()).status() == "alive"


def test_the_file_is_read(tmp_path: Path) -> None:
    content = {"pid": 7, "host": "h", "started": 1.5, "more": "is passed over"}
    (tmp_path / "driver.json").write_text(json.dumps(content))
    assert read_driver(tmp_path) == Driver(7, "h", 1.5)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"pid": 7}', '{"pid": "x"}'])
def test_no_file_or_one_without_the_content_names_nobody(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "driver.json").write_text(text)
    assert read_driver(tmp_path) is None
