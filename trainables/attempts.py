"""The attempts at one trial: a line for each process that began to train it."""

import os
import socket
import time
from pathlib import Path
from typing import BinaryIO

from strictune.records import ATTEMPTS, Attempt, read_attempts
from trainables.pulse import has_hung
from trainables.records import durable_step

__all__ = ["DIED", "HUNG", "RESUMED", "begin_attempt"]

DIED = "its process died"
HUNG = "it hung"
RESUMED = "resumed"


def begin_attempt(folder: Path, *, driver: str, why: str | None = None) -> list[Attempt]:
    """Add a line to the trial's ``attempts.jsonl`` and return all lines, the new one last.

    Keys: time (Unix, seconds), pid, node, driver (which run of the sweep), step (the last
    checkpoint's) and why: null for the first attempt, ``RESUMED`` where the sweep itself was
    started again, ``DIED`` or ``HUNG`` where the attempt before ended so, else what the caller
    says.
    """
    attempts = read_attempts(folder)
    attempt = Attempt(
        time=time.time(),
        pid=os.getpid(),
        node=socket.gethostname(),
        driver=driver,
        step=durable_step(folder),
        why=why or _why(folder, attempts, driver=driver),
    )
    with (folder / ATTEMPTS).open("ab+") as lines:
        lines.write(_end_of_line(lines) + attempt.model_dump_json().encode() + b"\n")
    return [*attempts, attempt]


def _end_of_line(lines: BinaryIO) -> bytes:
    """Return what ends a line that a full disk cut off; the next one must not be glued to it."""
    if not lines.seek(0, os.SEEK_END):
        return b""
    lines.seek(-1, os.SEEK_END)
    return b"" if lines.read(1) == b"\n" else b"\n"


def _why(folder: Path, attempts: list[Attempt], *, driver: str) -> str | None:
    if not attempts:
        return None
    last = attempts[-1]
    if last.driver != driver:
        return RESUMED
    return HUNG if has_hung(folder, since=last.time) else DIED
