"""The mirror beside a running sweep: an unhappy store must not be felt."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import as_json, printed
from mlflow_server import Server
from processes import wait_for
from tracking_fakes import FakeSweep, StoredRuns

from strictune.errors import StorageError
from strictune.tracking.background import MirrorThread
from strictune.tracking.mirror import Mirror, SyncReport

DONE = SyncReport(num_runs=1, num_points=3, num_files=0, problems=())
REFUSED = SyncReport(num_runs=1, num_points=0, num_files=0, problems=("trial=t1: no",))


class ScriptedMirror(Mirror):
    """Answers passes from a script; its last answer stands for all later ones."""

    def __init__(self, sweep_dir: Path, *answers: SyncReport | Exception) -> None:
        super().__init__(sweep_dir, "http://user:secret@127.0.0.1:1")
        self.answers = list(answers)
        self.num_passes = 0
        self.passed = threading.Condition()

    def sync(self) -> SyncReport:
        return self._answer()

    def close(self, status: object = None) -> SyncReport:
        return self._answer()

    def wait(self, num_passes: int) -> None:
        with self.passed:
            assert self.passed.wait_for(lambda: self.num_passes >= num_passes, timeout=60)

    def _answer(self) -> SyncReport:
        with self.passed:
            self.num_passes += 1
            self.passed.notify_all()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def _threaded(mirror: Mirror) -> MirrorThread:
    return MirrorThread(mirror, interval_s=0.01, max_interval_s=0.02)


def test_at_the_end_everything_is_delivered_and_the_folder_free(tmp_path: Path) -> None:
    thread = _threaded(ScriptedMirror(tmp_path, DONE))
    thread.start()
    assert thread.stop(timeout_s=60)
    with Mirror(tmp_path, "http://127.0.0.1:1"):
        pass


def test_an_outage_is_reported_once_without_the_password_and_so_is_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mirror = ScriptedMirror(tmp_path, *[StorageError("refused")] * 4, DONE)
    thread = _threaded(mirror)
    thread.start()
    mirror.wait(6)
    assert thread.stop(timeout_s=60)
    assert caplog.text.count("is away, training goes on") == 1
    assert caplog.text.count("is back; caught up with 3 metric values") == 1
    assert "secret" not in caplog.text


def test_a_store_that_stays_away_costs_no_more_than_the_time_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thread = _threaded(ScriptedMirror(tmp_path, StorageError("refused")))
    thread.start()
    started = time.monotonic()
    assert not thread.stop(timeout_s=0.2)
    assert time.monotonic() - started < 60
    assert f"strictune track replay {tmp_path}" in caplog.text


def test_what_the_store_refuses_is_said_once_and_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = ScriptedMirror(tmp_path, REFUSED)
    thread = _threaded(mirror)
    thread.start()
    mirror.wait(3)
    started = time.monotonic()
    assert not thread.stop(timeout_s=120)
    assert time.monotonic() - started < 120
    assert caplog.text.count("trial=t1: no") == 1


def test_a_defect_of_the_mirror_is_logged_and_stays_in_its_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = ScriptedMirror(tmp_path, RuntimeError("a defect"), DONE)
    thread = _threaded(mirror)
    thread.start()
    mirror.wait(2)
    assert thread.stop(timeout_s=60)
    assert "a defect" in caplog.text


def test_a_sweep_in_other_hands_is_refused_at_the_start(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path)
    with Mirror(sweep.path, sweep.uri), pytest.raises(StorageError, match="another process"):
        MirrorThread(Mirror(sweep.path, sweep.uri)).start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back_gets_each_step_once(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    caplog.set_level(logging.INFO, logger="strictune")
    sweep = FakeSweep(tmp_path, trial_ids=["t1"])
    trial = sweep.trial("t1")
    trial.log([1, 2])
    trial.checkpoint(2)
    server.start()
    thread = MirrorThread(Mirror(sweep.path, server.uri), interval_s=0.2, max_interval_s=0.5)
    thread.start()
    stored = StoredRuns(server.uri)
    wait_for(lambda: len(stored.all()) == 2, seconds=30)

    server.kill()
    trial.log([3, 4])
    trial.checkpoint(4)
    wait_for(lambda: "is away, training goes on" in caplog.text, seconds=60)
    trial.log([5])
    trial.end(steps=5)
    server.start()

    assert thread.stop(timeout_s=60)
    assert caplog.text.count("is away, training goes on") == 1
    run = stored.one("trial")
    assert [step for step, _ in stored.points(run)] == [1, 2, 3, 4, 5]
    assert {found.info.status for found in stored.all()} == {"FINISHED"}
    assert "adapter/final/adapter_config.json" in stored.files(run)


def test_replay_on_the_command_line_uploads_and_then_finds_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sweep = FakeSweep(tmp_path, trial_ids=["t1"])
    trial = sweep.trial("t1")
    trial.log([1, 2])
    trial.end()
    command = ("track", "replay", "sweep", "--out", sweep.path.parent)
    counts = [as_json(capsys, *command) for _ in range(2)]
    assert [count["num_points"] for count in counts] == [4, 0]
    assert counts[0]["tracking_uri"] == sweep.uri
    pages = printed(capsys, "track", "pages", "--out", sweep.path.parent)
    assert pages.startswith("sweep: http://127.0.0.1:5000/#/experiments/1/runs?")
