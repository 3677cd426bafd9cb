"""Reads a run's ``metrics.jsonl``, of a trial that is still writing it too."""

import json
from collections.abc import Iterator
from pathlib import Path

__all__ = ["read_metrics"]


def read_metrics(folder: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the step and the values of each line, up to one that is half written.

    Args:
        folder: The run's; where it has no such file, nothing is yielded.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                return
            yield int(record["step"]), record["metrics"]
