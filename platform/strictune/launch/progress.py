"""Prints the progress of a running sweep: one line for each trial that has moved on."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from strictune.errors import StorageError
from strictune.launch.driver import repeating
from strictune.launch.folder import SweepFolder
from strictune.watch import SweepWatch, TrialRow

__all__ = ["describe", "reporting"]

logger = logging.getLogger(__name__)


def describe(row: TrialRow, *, primary_criterion: str) -> str:
    """Return one line for the terminal."""
    if row.has_ended:
        reason = f", {row.reason}" if row.reason else ""
        return f"{row.name}: {row.state}{reason}"
    if row.state != "training":
        return f"{row.name}: {row.state}"
    parts = [f"step {row.step}/{row.num_steps}"]
    if row.reward is not None:
        parts.append(f"reward {row.reward:.2f}")
    if row.training_frac is not None:
        parts.append(f"{row.training_frac:.0%} of its training completions {primary_criterion}")
    if row.step_s is not None:
        parts.append(f"{row.step_s:.1f} s a step")
        if row.scoring_s is not None and row.scoring_s > row.step_s / 2:
            parts.append(f"most of it scoring ({row.scoring_s:.1f} s)")
    return f"{row.name}: {', '.join(parts)}"


@contextmanager
def reporting(
    folder: SweepFolder,
    *,
    primary_criterion: str,
    only: Collection[str] | None = None,
    say: Callable[[str], None],
    every_s: float,
) -> Iterator[None]:
    """Report changes every ``every_s`` seconds while the context is open.

    Args:
        folder: The sweep's.
        primary_criterion: The rate of training completions that lines show.
        only: Ids of the trials to report; None is all that the folder holds.
        say: Takes a line.
        every_s: Seconds between two lines about a trial.
    """
    watch = SweepWatch(folder.path)

    def lines() -> dict[str, str]:
        try:
            rows = [row for row in watch.rows() if only is None or row.trial_id in only]
        except (OSError, StorageError) as error:  # The sweep goes on without progress lines.
            logger.warning("progress cannot be read: %s", error)
            return {}
        return {row.trial_id: describe(row, primary_criterion=primary_criterion) for row in rows}

    printed = lines()

    def print_changes() -> None:
        for trial_id, line in lines().items():
            if printed.get(trial_id) != line:
                printed[trial_id] = line
                say(line)

    try:
        with repeating(print_changes, every_s=every_s):
            yield
    finally:
        print_changes()
