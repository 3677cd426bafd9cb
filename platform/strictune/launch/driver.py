"""The one process that runs a sweep: locks its folder, checks for stop requests, says how far."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from strictune.errors import StorageError
from strictune.launch.folder import SweepFolder, refuse_other_content
from strictune.records import write_json
from strictune.watch import SweepWatch, TrialRow

__all__ = ["describe", "driving", "locked", "repeating", "reporting"]

logger = logging.getLogger(__name__)

STOP_POLL_S = 0.5


@contextmanager
def locked(folder: SweepFolder) -> Iterator[None]:
    """Lock the sweep's folder while the context is open, before anything in it changes.

    The operating system unlocks it when the process ends, for whatever reason; the lock file stays.
    A process that holds the lock may take it again.

    Raises:
        StorageError: Another process runs the sweep, or the folder holds something else.
    """
    refuse_other_content(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.lock, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StorageError(folder.in_use_message()) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def driving(folder: SweepFolder) -> Iterator[str]:
    """Register this process as the sweep's driver; yields a name for this run of the sweep.

    While the context is open, ``driver.json`` names the process, and a file named ``stop`` in the
    folder interrupts it as Ctrl-C would.

    Raises:
        StorageError: Another process runs the sweep.
    """
    with locked(folder):
        try:
            folder.stop_request.unlink(missing_ok=True)
            started = time.time()
            who = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
            write_json(folder.driver, who)
            with repeating(lambda: _interrupt_if_asked(folder), every_s=STOP_POLL_S):
                yield f"{who['host']}:{who['pid']}:{started:.0f}"
        finally:
            folder.driver.unlink(missing_ok=True)
            folder.stop_request.unlink(missing_ok=True)


def _interrupt_if_asked(folder: SweepFolder) -> None:
    if folder.stop_request.exists():
        folder.stop_request.unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def repeating(action: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Call ``action`` every ``every_s`` seconds, in a thread, while the context is open."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def reporting(
    folder: SweepFolder,
    *,
    primary_criterion: str,
    only: Collection[str] | None = None,
    say: Callable[[str], None],
    every_s: float,
) -> Iterator[None]:
    """Print a line for each trial that has moved on, while the context is open.

    Args:
        folder: The sweep's.
        primary_criterion: The rate of training completions that lines show.
        only: Ids of the trials to report; None is all that the folder holds.
        say: Takes a line.
        every_s: Seconds between two lines about a trial.
    """
    watch = SweepWatch(folder.path)

    def lines() -> dict[str, str]:
        try:
            rows = [row for row in watch.rows() if only is None or row.trial_id in only]
        except (OSError, StorageError) as error:  # The sweep goes on without progress lines.
            logger.warning("progress cannot be read: %s", error)
            return {}
        return {row.trial_id: describe(row, primary_criterion=primary_criterion) for row in rows}

    printed = lines()

    def print_changes() -> None:
        for trial_id, line in lines().items():
            if printed.get(trial_id) != line:
                printed[trial_id] = line
                say(line)

    try:
        with repeating(print_changes, every_s=every_s):
            yield
    finally:
        print_changes()


def describe(row: TrialRow, *, primary_criterion: str) -> str:
    """Return one line for the terminal."""
    if row.has_ended:
        reason = f", {row.reason}" if row.reason else ""
        return f"{row.name}: {row.state}{reason}"
    if row.state != "training":
        return f"{row.name}: {row.state}"
    parts = [f"step {row.step}/{row.num_steps}"]
    if row.reward is not None:
        parts.append(f"reward {row.reward:.2f}")
    if row.training_frac is not None:
        parts.append(f"{row.training_frac:.0%} of its training completions {primary_criterion}")
    if row.step_s is not None:
        parts.append(f"{row.step_s:.1f} s a step")
        if row.scoring_s is not None and row.scoring_s > row.step_s / 2:
            parts.append(f"most of it scoring ({row.scoring_s:.1f} s)")
    return f"{row.name}: {', '.join(parts)}"
