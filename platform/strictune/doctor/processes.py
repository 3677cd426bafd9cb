"""Trying things in a process of their own: what crashes or hangs there is a finding here.

The process prints one line for each thing that it tried, as soon as it knows.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from strictune.doctor.findings import Finding, broken

__all__ = ["say_findings", "try_in_process"]

MARK = "finding: "
"""What the lines begin with: libraries print too."""


def say_findings(tries: Mapping[str, Callable[[], Finding]], *, cure: str) -> None:
    """Try each thing by its name, and print what was found; the process is at its service.

    Args:
        tries: What to try; what raises is broken, and the rest is tried all the same.
        cure: What to do about something that raised.
    """
    for name, attempt in tries.items():
        try:
            finding = attempt()
        except Exception as error:  # noqa: BLE001  whatever it is, it is what was found
            finding = broken(name, f"{type(error).__name__}: {_one_line(str(error))}", cure=cure)
        print(MARK + json.dumps(asdict(finding)), flush=True)  # noqa: T201  for the parent


def try_in_process(
    module: str, *arguments: str, names: Sequence[str], limit_s: float
) -> list[Finding]:
    """Run ``python -m module`` and return what it found under these names, in their order.

    A name without a finding is broken: the process died, or took too long.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    ended = _run(command, limit_s=limit_s)
    found: dict[str, Finding] = {}
    for line in ended.output.splitlines():
        if line.startswith(MARK):
            finding = Finding(**json.loads(line.removeprefix(MARK)))
            found[finding.name] = finding
    shown = " ".join(["python", "-m", module, *arguments])
    return [
        found.get(name) or broken(name, ended.reason, cure=f"To see more of it: {shown}")
        for name in names
    ]


class _Ended(NamedTuple):
    output: str
    reason: str
    """Why it said nothing more."""


def _run(command: Sequence[str], *, limit_s: float) -> _Ended:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONPATH": _python_path()},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # With the children that it may have.
        output, _ = process.communicate()
        return _Ended(output, f"gave no answer within {limit_s:g} s")
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return _Ended(output, f"its process was killed by {name}")
    last_line = _one_line(errors.strip().rpartition("\n")[2])
    return _Ended(output, last_line or f"its process ended with code {process.returncode}")


def _python_path() -> str:
    """Let the process import what this one can, from wherever it was started."""
    return os.pathsep.join(str(Path(path).absolute()) for path in sys.path)


def _one_line(text: str, *, max_chars: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."
