"""Sweeps as Ray jobs: submitted to a cluster, and followed to their end.

A job is ``strictune run`` on the cluster's head node; what it is sent is in ``job_request``, how
the server is reached in ``job_access``. Inside the job Ray sets RAY_ADDRESS, so the sweep joins
the cluster. A job belongs to the cluster from the moment it is submitted: a follower that goes
away, or loses the server, leaves it running.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobErrorType, JobStatus, JobSubmissionClient

from strictune.errors import SpecError
from strictune.launch.job_access import JobAccess
from strictune.launch.job_request import JobRequest

__all__ = ["JobEnd", "JobServer"]

CONNECT_TIMEOUT_S = 10.0
POLL_EVERY_S = 1.0
QUIET_S = 60.0
"""Without a line of the log for so long, the server is asked whether it is still there."""
RETRIES = 30
"""Times in a row that a lost server is tried again, ``RETRY_EVERY_S`` apart."""
RETRY_EVERY_S = 2.0

COMMAND_NOT_FOUND = 127
_CHATTY = {
    "ray._private.runtime_env.packaging": logging.WARNING,
    "ray._private.runtime_env.working_dir": logging.ERROR,
    "ray.dashboard.modules.dashboard_sdk": logging.WARNING,
    "ray.dashboard.modules.job.sdk": logging.WARNING,
}
"""Loggers of Ray that tell of each file they leave out; warnings of large files are kept."""
_ADDRESS_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_LOST = (requests.RequestException, aiohttp.ClientError, OSError, RuntimeError)
"""What Ray's client raises when the server does not answer, or answers with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a job stands when nobody follows it any longer."""

    exit_code: int
    """The job's own, or 1 where it has none."""
    message: str


class JobServer:
    """The job server of one cluster."""

    def __init__(self, client: JobSubmissionClient, access: JobAccess) -> None:
        self._client = client
        self._access = access

    @classmethod
    def connect(cls, access: JobAccess) -> Self:
        """Reach the server.

        Raises:
            SpecError: Nothing answers at the address, it is no job server, or it refuses the
                token.
        """
        _refuse_silence(access.address)
        for name, level in _CHATTY.items():
            logging.getLogger(name).setLevel(level)
        try:
            with _without_addresses_of_the_shell():
                client = JobSubmissionClient(access.address, headers=access.headers)
        except AuthenticationError as error:
            found = "does not accept the token" if access.token else "wants a token"
            raise SpecError(
                f"--address {access.address} {found}. Give --token-file FILE, with the file that "
                "RAY_AUTH_TOKEN_PATH named when the cluster was started (by default "
                "~/.ray/auth_token on its head node)."
            ) from error
        except (*_LOST, KeyError, ValueError) as error:
            raise SpecError(
                f"--address {access.address} answers, but not as a Ray job server: {error}"
            ) from error
        return cls(client, access)

    def submit(self, request: JobRequest) -> None:
        """Send the checkout, unless the cluster has it, and start the job.

        Raises:
            SpecError: The server refused the job, or the upload is too large.
        """
        try:
            self._client.submit_job(
                entrypoint=request.entrypoint,
                submission_id=request.job_id,
                runtime_env=dict(request.runtime_env),
            )
        except (*_LOST, ValueError) as error:
            text = request.without_values(str(error))
            raise SpecError(f"{self._access.address} did not take the job: {text}") from None

    def follow(
        self, job_id: str, write: Callable[[str], None], *, start_timeout_s: float
    ) -> JobEnd:
        """Write the job's log as it grows, until the job ends.

        Returns early where the job does not start in time, or the server stays away.
        """
        details = self._wait_for_start(job_id, start_timeout_s)
        if details is not None and details.status == JobStatus.PENDING:
            return JobEnd(exit_code=1, message=self._pending(details, start_timeout_s))
        log = _Log(write)
        lost = 0
        while lost < RETRIES:
            is_whole = self._tail(job_id, log)
            try:
                details = self._client.get_job_info(job_id)
                if details.status.is_terminal():
                    if not is_whole:
                        log.rewind()
                        log.append(self._client.get_job_logs(job_id))
                    return _end(details)
                lost = 0
            except _LOST:
                lost += 1
            time.sleep(RETRY_EVERY_S)
        return JobEnd(exit_code=1, message=self._lost(job_id))

    def commands(self, job_id: str) -> str:
        """Return the lines that say how to follow and to stop a job."""
        follow = self._access.command("logs --follow", job_id)
        stop = self._access.command("stop", job_id)
        return f"to follow: {follow}\nto stop: {stop}"

    def _wait_for_start(self, job_id: str, timeout_s: float) -> JobDetails | None:
        """Return the job once it is no longer PENDING, or as it is after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        details = None
        while True:
            with suppress(*_LOST):  # The deadline ends this, or following does.
                details = self._client.get_job_info(job_id)
            has_started = details is not None and details.status != JobStatus.PENDING
            if has_started or time.monotonic() >= deadline:
                return details
            time.sleep(POLL_EVERY_S)

    def _tail(self, job_id: str, log: "_Log") -> bool:
        """Write the log until the server ends it; False where it broke off."""
        log.rewind()
        try:
            asyncio.run(self._append_chunks(job_id, log))
        except _LOST:
            return False
        return True

    async def _append_chunks(self, job_id: str, log: "_Log") -> None:
        chunks = aiter(self._client.tail_job_logs(job_id))
        while True:
            chunk: asyncio.Future[str | None] = asyncio.ensure_future(_next(chunks))
            while not (await asyncio.wait({chunk}, timeout=QUIET_S))[0]:
                self._client.get_job_info(job_id)
            text = chunk.result()
            if text is None:
                return
            log.append(text)

    def _pending(self, details: JobDetails, timeout_s: float) -> str:
        job_id = details.submission_id
        return (
            f"{job_id} is still PENDING after {timeout_s:g} s. Ray says: {details.message} "
            "It was left as it is.\n"
            "Ray does not always report a set-up that fails. On the cluster's head node, look at\n"
            "- /tmp/ray/session_latest/logs: runtime_env_setup-*.log, runtime_env_agent.log, "
            f"job-driver-{job_id}.log\n"
            "- ray status: the head node must be alive; a job waits for it, not for workers\n"
            "- df -h /tmp: the checkout is unpacked there\n"
            "- a folder or file in the checkout's root that is named like a module of Python's "
            "(platform/__init__.py does this)\n"
            f"{self.commands(str(job_id))}"
        )

    def _lost(self, job_id: str) -> str:
        return (
            f"{self._access.address} has not answered for {RETRIES * RETRY_EVERY_S:g} s. {job_id} "
            f"goes on if its cluster does.\n{self.commands(job_id)}"
        )


class _Log:
    """The log of a job, written once although each connection sends it from its beginning."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._num_seen = 0
        self.num_written = 0
        """Characters."""

    def rewind(self) -> None:
        """A new connection starts at the beginning."""
        self._num_seen = 0

    def append(self, text: str) -> None:
        """Write the part of the next piece that is new."""
        fresh = text[max(0, self.num_written - self._num_seen) :]
        self._num_seen += len(text)
        if fresh:
            self._write(fresh)
            self.num_written += len(fresh)


def _end(details: JobDetails) -> JobEnd:
    job_id, code = details.submission_id, details.driver_exit_code
    if details.status == JobStatus.SUCCEEDED:
        return JobEnd(exit_code=0, message=f"{job_id} succeeded.")
    if details.status == JobStatus.STOPPED:
        return JobEnd(exit_code=1, message=f"{job_id} was stopped.")
    if details.error_type != JobErrorType.JOB_ENTRYPOINT_COMMAND_ERROR.value or not code:
        return JobEnd(exit_code=1, message=f"{job_id} failed: {details.message}")
    hint = ""
    if code == COMMAND_NOT_FOUND:
        hint = " `python` was not found on the head node: start Ray in an activated environment."
    # A process that a signal ended has the signal's negative number.
    return JobEnd(
        exit_code=code if code > 0 else 1, message=f"{job_id} failed with exit code {code}.{hint}"
    )


async def _next(chunks: Any) -> str | None:
    return await anext(chunks, None)


def _refuse_silence(address: str) -> None:
    """Try the port before Ray's client does, which would wait for minutes."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise SpecError(
            f"--address {address}: nothing answers there ({error}). Is the cluster up, and is this "
            "the address of its dashboard? One that listens on its own machine only is reached "
            "through a tunnel: ssh -L 8265:127.0.0.1:8265 HEAD."
        ) from error


@contextmanager
def _without_addresses_of_the_shell() -> Iterator[None]:
    """Hide the variables that Ray would use instead of the address it is given."""
    hidden = {name: os.environ.pop(name) for name in _ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
