"""A vLLM server as a process: started, looked at, started again where it ends or hangs."""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from strictune.errors import BudgetError

__all__ = ["ServerProcess"]

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 1200.0
"""Weights are loaded and graphs captured in less."""
HEALTH_TIMEOUT_S = 20.0
MAX_SILENCES = 3
"""Unanswered looks at a server that was up, before it is killed and started again."""
MAX_RESTARTS = 5
"""Restarts after none of which the server came up; then it stays down, and trials pause."""
STOP_TIMEOUT_S = 20.0
PR_SET_PDEATHSIG = 1


class ServerProcess:
    """One server: its process, and those that it starts, as one group."""

    def __init__(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], url: str, log: Path
    ) -> None:
        """Start it.

        Args:
            arguments: The command.
            environment: Its variables.
            url: Where it will answer.
            log: What it prints is appended to this file.
        """
        self.url = url
        self._arguments = arguments
        self._environment = environment
        self._log = log
        self._num_restarts = self._num_silences = 0
        self._is_up, self._started = False, time.monotonic()
        self._process = self._start()

    def wait_until_up(self, *, poll_s: float = 1.0) -> float:
        """Return how many seconds it took until it answered.

        Raises:
            BudgetError: It ended, or took too long.
        """
        while not self._answers():
            seconds = time.monotonic() - self._started
            code = self._process.poll()
            if code is not None or seconds > START_TIMEOUT_S:
                what = f"took more than {seconds:.0f} s" if code is None else f"ended ({code})"
                raise BudgetError(
                    f"rollouts.engine = vllm: the server {what} before it was up: "
                    f"{_last_error(self._log)} All of it is in {self._log}."
                )
            time.sleep(poll_s)
        self._is_up = True
        return time.monotonic() - self._started

    def look(self) -> None:
        """Start the server again where it has ended, or does not answer any more."""
        if self._num_restarts > MAX_RESTARTS:
            return
        code = self._process.poll()
        if code is not None:
            self._restart(f"ended ({code})")
        elif self._answers():
            self._is_up, self._num_silences, self._num_restarts = True, 0, 0
        elif self._is_up:
            self._num_silences += 1
            if self._num_silences >= MAX_SILENCES:
                self._restart("did not answer")
        elif time.monotonic() - self._started > START_TIMEOUT_S:
            self._restart("did not come up")

    def stop(self) -> None:
        """End its processes."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            # Also where the first of them is gone: those that it started may not be.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)

    def _restart(self, what: str) -> None:
        self._num_restarts += 1
        self.stop()
        if self._num_restarts > MAX_RESTARTS:
            logger.error("vllm=%s %s and stays down: %s", self.url, what, _last_error(self._log))
            return
        logger.warning("vllm=%s %s and is started again", self.url, what)
        self._is_up, self._num_silences, self._started = False, 0, time.monotonic()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=HEALTH_TIMEOUT_S):
                return True
        except (OSError, urllib.error.URLError):
            return False


def _last_error(log: Path) -> str:
    """Return the last line of a log that names an error, else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines)[-1].strip()[-300:]


def _end_with_parent() -> None:
    """Let the server end when this process is killed; Linux alone knows how."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
