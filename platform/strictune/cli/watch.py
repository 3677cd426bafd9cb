"""``strictune watch``: how the trials of a sweep stand, live or once."""

import argparse
import contextlib
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from strictune.cli.arguments import add_sweep_folder, sweep_folder
from strictune.cli.terminal import print_json, table_console

if TYPE_CHECKING:
    from strictune.watch import SweepSnapshot, SweepWatch

__all__ = ["configure", "execute", "watch_document"]

EVERY_S = 2.0
"""Between two updates."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_sweep_folder(parser)
    parser.add_argument(
        "--once", action="store_true", help="print every trial once; the default in a pipe"
    )
    parser.add_argument("--json", action="store_true", help="print the trials as JSON, once")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.watch import SweepWatch

    watch = SweepWatch(sweep_folder(args))
    if args.json:
        print_json(watch_document(watch.snapshot()))
    elif args.once or not sys.stdout.isatty():
        from strictune.cli.watch_table import WatchTable

        table_console().print(
            WatchTable(snapshot=watch.snapshot(), now=time.time(), is_bounded=False)
        )
    else:
        _show_live(watch)
    return 0


def watch_document(snapshot: "SweepSnapshot") -> dict[str, Any]:
    """Return a snapshot as plain data."""
    trials = [
        {**asdict(row), "held_out": [found._asdict() for found in row.held_out]}
        for row in snapshot.trials
    ]
    return {
        "sweep": snapshot.sweep,
        "folder": str(snapshot.folder),
        "state": snapshot.state,
        "why": snapshot.why,
        "resume": snapshot.resume,
        "primary_criterion": snapshot.primary_criterion,
        "num_trials": len(trials),
        "num_by_state": dict(snapshot.num_by_state),
        "trials": trials,
    }


def _show_live(watch: "SweepWatch") -> None:
    """Draw until the sweep has ended or the user leaves; the last table stays on the screen."""
    from rich.live import Live

    from strictune.cli.watch_table import WatchTable

    console = table_console()
    snapshot = watch.snapshot()
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(
                WatchTable(snapshot=snapshot, now=time.time(), is_bounded=True), refresh=True
            )
            if snapshot.state == "ended":
                break
            time.sleep(EVERY_S)
            snapshot = watch.snapshot()
    console.print(WatchTable(snapshot=snapshot, now=time.time(), is_bounded=True))
