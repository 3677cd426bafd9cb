"""``strictune stop``: end a sweep, or one of its trials, cleanly."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from strictune.cli.arguments import add_sweep_folder, sweep_folder
from strictune.errors import SpecError, StorageError

if TYPE_CHECKING:
    from strictune.watch import Driver

__all__ = ["configure", "execute"]

STOP = "stop"
"""The file that asks the driver of a sweep, or a trial's process, to stop."""
POLL_S = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_sweep_folder(parser)
    parser.add_argument(
        "trial",
        nargs="?",
        metavar="TRIAL",
        help="one trial, by its name, its id or the beginning of it; without it the whole sweep",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait for the end (default: 120)",
    )


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.watch import read_driver

    folder = sweep_folder(args)
    trial = None if args.trial is None else _find_trial(folder, args.trial)
    driver = read_driver(folder)
    if driver is None or driver.status() == "gone":
        raise StorageError(
            f"{folder}: not running (no driver process), so there is nothing to stop."
        )
    if trial is None:
        return _stop_sweep(folder, driver, timeout_s=args.timeout)
    return _stop_trial(trial, timeout_s=args.timeout)


def _stop_sweep(folder: Path, driver: "Driver", *, timeout_s: float) -> int:
    from strictune.watch import read_driver

    (folder / STOP).touch()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if read_driver(folder) != driver or driver.status() == "gone":
            print(f"{folder}: stopped; its trials keep what they have checkpointed.")
            return 0
        time.sleep(POLL_S)
    raise StorageError(
        f"{folder}: process {driver.pid} on {driver.host} has not stopped within {timeout_s:g} s. "
        f"What it does is in {folder / 'strictune.log'}; kill the process if it hangs, nothing "
        "that was checkpointed is lost."
    )


def _stop_trial(trial: Path, *, timeout_s: float) -> int:
    from strictune.records import read_outcome

    if read_outcome(trial) is None:
        (trial / STOP).touch()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        outcome = read_outcome(trial)
        if outcome is not None:
            reason = f": {outcome.reason}" if outcome.reason else ""
            print(f"{trial.name}: {outcome.state}{reason}")
            return 0
        time.sleep(POLL_S)
    print(
        f"{trial.name} will stop at its next step, or when its turn comes; "
        f"it has not within {timeout_s:g} s."
    )
    return 0


def _find_trial(folder: Path, wanted: str) -> Path:
    from strictune.records import read_plan

    # A search draws its trials while it runs: they have folders and stand in no plan.
    names = {path.name: "" for path in sorted((folder / "trials").glob("*"))}
    names |= {trial.trial_id: trial.name for trial in read_plan(folder).trials}
    exact = [trial_id for trial_id, name in names.items() if wanted in (trial_id, name)]
    found = exact or [trial_id for trial_id in names if trial_id.startswith(wanted)]
    if len(found) != 1:
        problem = "matches no trial" if not found else f"matches {len(found)} trials"
        ids = ", ".join(found or names)
        raise SpecError(f"{wanted} {problem} of {folder}, expected one of {ids}.")
    return folder / "trials" / found[0]
