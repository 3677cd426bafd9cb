"""``strictune watch``: how the trials of a sweep stand, live or once."""

import argparse
import contextlib
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from rich.live import Live

from strictune.cli.sweep_folder import add_sweep_folder, sweep_folder
from strictune.cli.tables import table_console
from strictune.cli.verb import Verb
from strictune.cli.watch_table import WatchTable
from strictune.watch import SweepLook, SweepWatch

__all__ = ["VERB", "watch_document"]

EVERY_S = 2.0
SEARCH_S = 0.2
"""How long a look of the live table may search long files for earlier evaluations."""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_sweep_folder(parser)
    parser.add_argument(
        "--once", action="store_true", help="print every trial once; the default in a pipe"
    )
    parser.add_argument("--json", action="store_true", help="print the trials as JSON, once")
    parser.add_argument(
        "--every",
        type=float,
        default=EVERY_S,
        metavar="SECONDS",
        help=f"time between two looks (default: {EVERY_S:g})",
    )


def _execute(args: argparse.Namespace) -> int:
    watch = SweepWatch(sweep_folder(args))
    if args.json:
        print(json.dumps(watch_document(watch.look()), indent=2, ensure_ascii=False))
    elif args.once or not sys.stdout.isatty():
        _print_once(watch.look())
    else:
        _show_live(watch, every_s=args.every)
    return 0


def watch_document(look: SweepLook) -> dict[str, Any]:
    """Return a look as plain data."""
    trials = [
        {**asdict(row), "held_out": [found._asdict() for found in row.held_out]}
        for row in look.trials
    ]
    return {
        "sweep": look.sweep,
        "folder": str(look.folder),
        "state": look.state,
        "why": look.why,
        "resume": look.resume,
        "primary_rung": look.primary_rung,
        "num_trials": len(trials),
        "num_by_state": dict(look.num_by_state),
        "trials": trials,
    }


def _print_once(look: SweepLook) -> None:
    table_console().print(WatchTable(look=look, now=time.time(), is_bounded=False))


def _show_live(watch: SweepWatch, *, every_s: float) -> None:
    """Draw until the sweep has ended or the user leaves; the last table stays on the screen."""
    console = table_console()
    look = watch.look(search_s=SEARCH_S)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(WatchTable(look=look, now=time.time(), is_bounded=True), refresh=True)
            if look.state == "ended" and look.has_all_evaluations:
                break
            time.sleep(every_s if look.has_all_evaluations else 0)
            look = watch.look(search_s=SEARCH_S)
    console.print(WatchTable(look=look, now=time.time(), is_bounded=True))


VERB = Verb(
    name="watch",
    summary="show how the trials of a sweep stand, live, from any terminal",
    example="strictune watch runs/quickstart",
    configure=_configure,
    execute=_execute,
)
