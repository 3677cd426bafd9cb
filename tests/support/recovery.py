"""How long a trial takes to recover from a fault, read from what it leaves behind.

The tests of faults record the seconds as properties, which ``--junitxml=FILE`` writes down.
"""

import json
from collections.abc import Callable
from pathlib import Path

Record = Callable[[str, object], None]
"""The type of pytest's ``record_property``."""


def note_recovery(record: Record, folder: Path, *, since: float) -> None:
    """Record when the trial in ``folder`` was begun again, and when it had its next step.

    Args:
        record: Pytest's ``record_property``.
        folder: The trial's.
        since: Unix time of the fault.
    """
    begun = _first_after(since, folder / "attempts.jsonl")
    stepped = _first_after(begun, folder / "metrics.jsonl")
    record("begun_again_s", round(begun - since, 1))
    record("next_step_s", round(stepped - since, 1))


def _first_after(time: float, path: Path) -> float:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return float(next(line["time"] for line in lines if line["time"] > time))
