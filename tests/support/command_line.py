"""The command line in tests: what it prints, what it refuses, and what it imports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from strictune.cli import main

ROOT = Path(__file__).resolve().parents[2]
HEAVY = frozenset({"torch", "transformers", "trl", "peft", "ray", "mlflow", "optuna", "datasets"})
"""What takes seconds to import."""


def printed(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command and return its standard output."""
    assert main([*map(str, args)]) == 0
    out: str = capsys.readouterr().out
    return out


def as_json(capsys: pytest.CaptureFixture[str], *args: object) -> Any:
    """Run a command with ``--json`` and return what it printed."""
    return json.loads(printed(capsys, *args, "--json"))


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command that is refused and return its message."""
    assert main([*map(str, args)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return str(err)


def write_jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_python(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a Python of its own, which imports the checkout."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "platform")))
    return subprocess.run(
        [sys.executable, *args],
        env=os.environ | {"PYTHONPATH": path} | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def imported_by(*command: object) -> set[str]:
    """Return the modules that a command line imports in a process of its own."""
    code = f"""
import sys
from strictune.cli import main
try:
    main({[*map(str, command)]!r})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())
