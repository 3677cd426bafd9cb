"""Runs checks in parallel, each within its time limit; a failing check does not affect the others.

Heavy checks run in a process of their own, whose crash or hang is a finding. The process prints
one line for each thing it has tried.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = [
    "Check",
    "Finding",
    "Place",
    "Status",
    "broken",
    "examine",
    "ok",
    "print_findings",
    "try_in_process",
    "warning",
]

logger = logging.getLogger(__name__)

MARK = "finding: "
"""Prefix of the lines that hold findings: libraries print to the same output."""

Status = Literal["ok", "warning", "broken"]


class Place(NamedTuple):
    """Where a sweep would run."""

    out: Path
    """Where its results would go; need not exist."""
    environ: Mapping[str, str]
    """The environment variables."""

    @property
    def existing(self) -> Path:
        """The folder that ``out`` is in, or would be made in."""
        out = self.out.absolute()
        return next(path for path in (out, *out.parents) if path.is_dir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a check."""

    name: str
    status: Status
    found: str
    cure: str | None
    """What to do; None where nothing is to be done."""


def ok(name: str, found: str) -> Finding:
    """Return a finding that something works."""
    return Finding(name=name, status="ok", found=found, cure=None)


def warning(name: str, found: str, *, cure: str) -> Finding:
    """Return a finding that affects some sweeps only."""
    return Finding(name=name, status="warning", found=found, cure=cure)


def broken(name: str, found: str, *, cure: str) -> Finding:
    """Return a finding that something sweeps need does not work."""
    return Finding(name=name, status="broken", found=found, cure=cure)


class Check(NamedTuple):
    """One check."""

    name: str
    """Name of the finding where the check itself gives none."""
    run: Callable[[Place], Finding | Sequence[Finding]]
    limit_s: float = 15.0
    """Time limit; a later answer is ignored."""
    late: Status = "broken"
    """Status where there is no answer in time."""


def examine(checks: Sequence[Check], place: Place) -> Iterator[Finding]:
    """Run all checks at once and yield what they find, in their order.

    Each has a thread of its own, because it may hang, e.g. on a dead network drive.
    """
    running = []
    for check in checks:
        found: list[Finding] = []
        thread = threading.Thread(target=_run_check, args=(check, place, found), daemon=True)
        thread.start()
        running.append((check, thread, time.monotonic() + check.limit_s, found))
    for check, thread, deadline, found in running:
        thread.join(max(0.0, deadline - time.monotonic()))
        yield from list(found) or [
            Finding(
                name=check.name,
                status=check.late,
                found=f"gave no answer within {check.limit_s:g} s",
                cure="Try again when the machine has less to do; if it stays so, look at what "
                "this depends on: network, network drives, drivers.",
            )
        ]


def _run_check(check: Check, place: Place, found: list[Finding]) -> None:
    try:
        result = check.run(place)
    except Exception as error:
        logger.debug("check=%s failed", check.name, exc_info=error)
        result = broken(
            check.name,
            f"the check itself failed: {type(error).__name__}: {error}",
            cure="Please report this, with `strictune doctor --json`.",
        )
    found += [result] if isinstance(result, Finding) else result


def print_findings(tries: Mapping[str, Callable[[], Finding]], *, cure: str) -> None:
    """Run each try and print its finding for the parent process.

    Args:
        tries: By name. One that raises is reported as broken, and the others still run.
        cure: For tries that raise.
    """
    for name, attempt in tries.items():
        try:
            finding = attempt()
        except Exception as error:  # noqa: BLE001  any error is a finding
            finding = broken(name, f"{type(error).__name__}: {_one_line(str(error))}", cure=cure)
        print(MARK + json.dumps(asdict(finding)), flush=True)  # noqa: T201  for the parent


def try_in_process(
    module: str, *arguments: str, names: Sequence[str], limit_s: float
) -> list[Finding]:
    """Run ``python -m module`` and return its findings under these names, in their order.

    A name without a finding is reported as broken: the process died, or took too long.
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
    """Why there is no further output."""


def _run(command: Sequence[str], *, limit_s: float) -> _Ended:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(p).absolute()) for p in sys.path)},
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


def _one_line(text: str, *, max_chars: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."
