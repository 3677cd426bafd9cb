"""Writes and reads the splits of strict_json as files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from strictune.errors import StorageError
from trainables.tasks.strict_json.data import prompt_row
from trainables.tasks.strict_json.suites import read_suite
from trainables.tasks.task import SPLITS, Prompt, Split

__all__ = ["read_splits", "write_splits"]


def write_splits(folder: Path, splits: Mapping[Split, Sequence[Prompt]]) -> dict[Split, Path]:
    """Write ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` into a folder.

    Raises:
        StorageError: One of the files exists already, or the folder cannot be written.
    """
    paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
    for path in paths.values():
        if path.exists():
            raise StorageError(f"{path}: exists already. Remove it, or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, path in paths.items():
            rows = (json.dumps(prompt_row(prompt)) + "\n" for prompt in splits[split])
            path.write_bytes("".join(rows).encode())
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error}).") from error
    return paths


def read_splits(folder: Path) -> Mapping[Split, tuple[Prompt, ...]]:
    """Read back what ``write_splits`` wrote.

    Raises:
        SpecError: A file is missing or cannot be used.
    """
    return {split: read_suite(folder / f"{split}.jsonl") for split in SPLITS}
