import contextlib
import fcntl
import io
import os
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from command_line import HEAVY, as_json, imported_by, printed
from rich.cells import cell_len
from rich.console import Console
from watched_sweep import START, WatchedSweep

from strictune.cli.watch_table import WatchTable, duration, sparkline
from strictune.watch import SweepWatch

REASON = "RuntimeError: CUDA out of memory. Lower trial.grpo.per_device_train_batch_size to 4."
LONG_IDS = tuple(f"smollm2-135m-no-think-three-stage-s{seed}-0123456{seed}" for seed in range(4))


@pytest.fixture
def sweep(tmp_path: Path) -> WatchedSweep:
    """Four trials: one ended, one failed, one at work, one waiting."""
    sweep = WatchedSweep(tmp_path, trial_ids=LONG_IDS)
    sweep.driver(pid=1, host="elsewhere.invalid", started=START - 60)
    for trial_id in LONG_IDS[:3]:
        trial = sweep.trial(trial_id)
        trial.start()
        trial.train(1, 10, **{"gpu/peak_gib": 3.25})
        trial.evaluate(10, 0.125)
    ended, failed, _ = (sweep.trial(trial_id) for trial_id in LONG_IDS[:3])
    ended.train(11, 30)
    ended.evaluate(30, 0.5)
    ended.end()
    failed.end("FAILED", reason=REASON)
    return sweep


def drawn(
    sweep: WatchedSweep,
    *,
    width: int,
    height: int = 24,
    is_bounded: bool = False,
    now: float = START,
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    snapshot = SweepWatch(sweep.path).snapshot(now=now)
    console.print(WatchTable(snapshot=snapshot, now=now, is_bounded=is_bounded))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def headings(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("trial "))


def test_a_wide_terminal_shows_every_column(sweep: WatchedSweep) -> None:
    lines = drawn(sweep, width=300)
    assert headings(lines).split("  ")[0] == "trial"
    for heading in (
        "cell", "state", "step", "reward", "held-out strict", "tokens/s", "GiB", "time left",
        "retries",
    ):  # fmt: skip
        assert heading in headings(lines)
    rows = {line.split()[0]: line for line in lines if line.startswith("smollm2")}
    assert list(rows) == list(LONG_IDS)
    ended, failed, at_work, waiting = rows.values()
    assert "FINISHED  30/30    0.30   50.0% \u2583\u2588" in ended
    assert ended.split()[-2:] == ["50", "0"]
    assert "FAILED" in failed
    assert lines[-1].endswith(f"{LONG_IDS[1]}, FAILED: {REASON}")
    assert "training  10/30" in at_work
    assert at_work.split()[-5:] == ["50", "3.2", "2", "min", "0"]
    assert waiting.endswith("waiting    0/30")


def test_the_header_counts_trials_by_state(sweep: WatchedSweep) -> None:
    header = drawn(sweep, width=300)[0]
    assert header.startswith("sweep: running (driver process 1 on elsewhere.invalid")
    assert header.endswith("4 trials: 1 training, 1 FAILED, 1 FINISHED, 1 waiting.")


def test_a_sweep_that_nobody_runs_says_how_to_go_on(sweep: WatchedSweep) -> None:
    (sweep.path / "driver.json").unlink()
    header = " ".join(drawn(sweep, width=300)[:2])
    assert header.startswith("sweep: stopped (no driver process). 4 trials: ")
    assert f"Continue with: strictune run {sweep.path}/sweep.yaml --resume" in header
    assert "1 interrupted" in header


def test_a_sweep_without_a_trial_at_work_says_what_comes_first(tmp_path: Path) -> None:
    sweep = WatchedSweep(tmp_path)
    sweep.driver(pid=1, host="elsewhere.invalid")
    text = "No trial has started yet: Ray and the baselines come first."
    assert text in drawn(sweep, width=100)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200, 300])
def test_the_table_fits_the_terminal(sweep: WatchedSweep, width: int) -> None:
    lines = drawn(sweep, width=width)
    assert all(cell_len(line) <= width for line in lines)
    for seed in range(4):
        (row,) = [line for line in lines if f"-0123456{seed} " in line]
        assert row.startswith("smollm2")
        assert "/30" in row
    text = " ".join(" ".join(lines).split())
    assert REASON in text


@pytest.mark.parametrize(
    ("width", "kept", "dropped"),
    [
        pytest.param(80, ("reward", "held-out strict", "time left"), ("cell", "GiB"), id="80"),
        pytest.param(60, ("held-out strict",), ("tokens/s", "time left"), id="60"),
        pytest.param(40, ("state", "step"), ("reward", "held-out strict"), id="40"),
    ],
)
def test_what_matters_least_goes_first(
    sweep: WatchedSweep, width: int, kept: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    found = headings(drawn(sweep, width=width))
    assert all(heading in found for heading in kept)
    assert not any(heading in found for heading in dropped)


def test_columns_without_content_are_left_out(tmp_path: Path) -> None:
    found = headings(drawn(WatchedSweep(tmp_path), width=300))
    assert found.split() == ["trial", "cell", "state", "step"]


@pytest.mark.parametrize("height", [8, 10, 24, 50])
def test_many_trials_fit_the_height(tmp_path: Path, height: int) -> None:
    sweep = WatchedSweep(tmp_path, trial_ids=[f"t{index}" for index in range(100)])
    sweep.driver(pid=1, host="elsewhere.invalid", started=START - 60)
    for index in range(40):
        sweep.trial(f"t{index}").end()
    sweep.trial("t40").train(1, 3)
    sweep.trial("t41").end("FAILED", reason="short")
    lines = drawn(sweep, width=100, height=height, is_bounded=True)
    assert len(lines) <= height
    rows = [line for line in lines if line.startswith("t") and "/30" in line]
    assert rows[0].startswith("t40 ")
    (more,) = [line for line in lines if line.startswith("\u2026 and ")]
    assert more.startswith(f"\u2026 and {100 - len(rows)} more: ")
    assert more.endswith("waiting")
    assert " training" not in more


def test_a_trial_that_has_gone_silent_is_remarked_upon(sweep: WatchedSweep) -> None:
    last = START + 20
    sweep.trial(LONG_IDS[2]).train(11, 11)
    assert not any("silent" in line for line in drawn(sweep, width=300, now=last + 60))
    assert any("silent for 15 min" in line for line in drawn(sweep, width=300, now=last + 902))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"),
        (3571, "1 h 00 min"), (7 * 3600 + 310, "7 h 05 min"), (86_399, "1 d 0 h"),
        (100 * 3600, "4 d 4 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_sparkline_runs_from_zero_to_the_scale() -> None:
    assert sparkline([0.0, 0.25, 0.5], scale=0.5) == "\u2581\u2585\u2588"
    assert sparkline([0.0, 0.0], scale=0.0) == "\u2581\u2581"
    assert sparkline([1.0] * 5 + [0.0] * 12, scale=1.0) == "\u2581" * 12


# The command line.


def test_json_holds_every_trial(sweep: WatchedSweep, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, "watch", "sweep", "--out", sweep.path.parent, "--once")
    trials = document.pop("trials")
    assert document == {
        "sweep": "sweep",
        "folder": str(sweep.path),
        "state": "running",
        "why": "driver process 1 on elsewhere.invalid, which cannot be checked from this machine",
        "resume": None,
        "primary_criterion": "strict",
        "num_trials": 4,
        "num_by_state": {"FINISHED": 1, "FAILED": 1, "training": 1, "waiting": 1},
    }
    assert [trial["trial_id"] for trial in trials] == list(LONG_IDS)
    assert trials[1]["reason"] == REASON
    assert trials[2] == {
        "trial_id": LONG_IDS[2],
        "name": f"tiny \u00b7 think \u00b7 two-stage \u00b7 {LONG_IDS[2]}",
        "cell": "tiny \u00b7 think \u00b7 two-stage",
        "state": "training",
        "step": 10,
        "num_steps": 30,
        "reward": 0.1,
        "training_frac": 0.25,
        "held_out_frac": 0.125,
        "held_out": [{"step": 10, "frac": 0.125, "seconds": 30.0}],
        "step_s": 2.0,
        "scoring_s": None,
        "tokens_per_s": 50.0,
        "peak_gib": 3.25,
        "time_left_s": 100.0,
        "num_retries": 0,
        "reason": None,
        "updated": START + 20,
    }


def test_a_pipe_gets_every_trial_once(
    sweep: WatchedSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, "watch", sweep.path)
    assert all(trial_id in out for trial_id in LONG_IDS)
    assert "\x1b" not in out


def test_watching_starts_without_torch_ray_or_mlflow(sweep: WatchedSweep) -> None:
    assert not imported_by("watch", sweep.path) & (HEAVY | {"pandas"})


def test_a_terminal_shows_the_table_live_until_the_sweep_has_ended(sweep: WatchedSweep) -> None:
    """A real terminal: the table is drawn on its alternate screen, and once more at the end."""
    now = time.time()
    sweep.driver(pid=os.getpid(), host=socket.gethostname(), started=now)
    sweep.trial(LONG_IDS[2]).start(time=now + 1, why="resumed")
    terminal, other_end = os.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    command = [sys.executable, "-m", "strictune", "watch", str(sweep.path)]
    watching = subprocess.Popen(
        command,
        # A runner of tests may have said how wide its own terminal is.
        env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        | {"TERM": "xterm"},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    )
    try:
        os.close(other_end)
        shown = _read_until(terminal, b"1 starting, 1 FAILED, 1 FINISHED")
        for trial_id in LONG_IDS[2:]:
            sweep.trial(trial_id).end()
        (sweep.path / "driver.json").unlink()
        shown += _read_to_the_end(terminal)
        assert watching.wait(timeout=30) == 0
    finally:
        watching.kill()
        watching.wait()
    os.close(terminal)
    before, alternate_off, after = shown.rpartition(b"\x1b[?1049l")
    assert before.startswith(b"\x1b[?1049h")
    assert alternate_off
    assert b"1 FAILED, 3 FINISHED" in after


def _read_until(terminal: int, text: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 60
    while text not in shown:
        assert time.monotonic() < deadline, shown[-2000:]
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 65536)
    return shown


def _read_to_the_end(terminal: int) -> bytes:
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed.
        while select.select([terminal], [], [], 30)[0] and (read := os.read(terminal, 65536)):
            shown += read
    return shown
