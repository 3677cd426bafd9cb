"""Reads the tables of a run: its evaluated samples, and the rewards of its training.

pandas and pyarrow are imported when a table is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strictune.errors import StorageError
from strictune.records.run import read_progress

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["REWARDS", "part_path", "read_reward_parts", "read_samples", "reward_parts"]

REWARDS = "rewards"
FACTS = ("prompt_id", "family", "difficulty", "sample")
MEASURES = ("num_tokens", "is_truncated", "is_thinking")
SCORED = ("criterion/", "measure/")


def read_samples(path: Path, *, with_texts: bool = False) -> "pd.DataFrame":
    """Read a ``samples.parquet``, one row a completion.

    Args:
        path: The file.
        with_texts: Read every column, completions and error classes among them.

    Returns:
        prompt_id, family, difficulty, sample, num_tokens, is_truncated, is_thinking, one
        ``criterion/<name>`` column for each criterion and one ``measure/<name>`` column for each
        measure of the task.

    Raises:
        StorageError: The file is missing, lacks a column, or holds a sample twice.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        missing = [column for column in (*FACTS, *MEASURES) if column not in names]
        if missing:
            raise StorageError(
                f"{path}: the columns {', '.join(missing)} are missing. Evaluate this run again."
            )
        scored = [name for name in names if name.startswith(SCORED)]
        columns = None if with_texts else [*FACTS, *MEASURES, *scored]
        samples = pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise StorageError(f"{path}: cannot be read as a table of samples ({reason}).") from error
    repeated = samples[samples.duplicated(["prompt_id", "sample"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise StorageError(
            f"{path}: sample {first['sample']} of prompt {first['prompt_id']!r} is there twice. "
            "Evaluate this run again."
        )
    return samples


def part_path(run: Path, step: int) -> Path:
    """Return where a run keeps the rewards up to the checkpoint of ``step``."""
    return run / REWARDS / f"part-{step:08d}.parquet"


def reward_parts(run: Path) -> Mapping[int, Path]:
    """Return the parts of a run's rewards by the step of their checkpoint, in order."""
    paths = sorted((run / REWARDS).glob("part-*.parquet"))
    return {int(path.stem.removeprefix("part-")): path for path in paths}


def read_reward_parts(run: Path, columns: Sequence[str]) -> "Iterator[pd.DataFrame]":
    """Yield the parts that a checkpoint has made durable, one row a completion.

    Raises:
        StorageError: There is no checkpoint yet, or a part lacks a column or cannot be read.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    last = read_progress(run).step
    if not last:
        raise StorageError("no checkpoint yet.")
    durable = [path for step, path in reward_parts(run).items() if step <= last]
    if not durable:
        raise StorageError(f"{run / REWARDS}: no part up to step {last}, the last durable.")
    for path in durable:
        try:
            recorded = pq.read_schema(path).names
            missing = [column for column in columns if column not in recorded]
            if missing:
                raise StorageError(
                    f"{path}: was recorded without {', '.join(missing)}, which the task has now. "
                    "Undo that change of the task, or train again."
                )
            yield pd.read_parquet(path, columns=list(columns))
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise StorageError(f"{path}: cannot be read as a reward matrix ({reason}).") from error
