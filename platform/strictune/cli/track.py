"""``strictune track``: copies a sweep into a tracking store after the fact; finds its pages."""

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from strictune.cli.arguments import add_sweep_folder, sweep_folder
from strictune.cli.terminal import print_json

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    replay = actions.add_parser(
        "replay",
        help="upload what a tracking store missed, or all of it to another one",
        description="Uploads what the tracking store misses of a sweep that has ended, and ends "
        "the runs that a kill left open. Does nothing where nothing is missing.",
    )
    add_sweep_folder(replay)
    replay.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="the store; by default MLFLOW_TRACKING_URI, else where the sweep was tracked last",
    )
    replay.add_argument("--json", action="store_true", help="print the counts as JSON")
    replay.set_defaults(run=_replay)
    pages = actions.add_parser(
        "pages", help="print the addresses at which MLflow shows the runs of each sweep"
    )
    pages.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where the sweeps lie"
    )
    pages.set_defaults(run=_pages)


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    return int(args.run(args))


def _pages(args: argparse.Namespace) -> int:
    from strictune.tracking import read_identity, runs_page, tracking_uri_for

    for plan in sorted(args.out.glob("*/plan.json")):
        page = runs_page(read_identity(plan.parent), tracking_uri_for(plan.parent))
        if page is not None:
            print(f"{plan.parent.name}: {page}")
    return 0


def _replay(args: argparse.Namespace) -> int:
    from strictune.tracking import replay, tracking_uri_for, without_password

    sweep_dir = sweep_folder(args)
    uri = tracking_uri_for(sweep_dir, args.tracking_uri)
    report = replay(sweep_dir, uri)
    if report.is_complete:
        from analysis import sweep_verdicts
        from strictune.cli.closing import promote_best

        promote_best(
            sweep_dir, uri, sweep_verdicts(sweep_dir), tell=partial(print, file=sys.stderr)
        )
    if args.json:
        print_json({"tracking_uri": without_password(uri), **asdict(report)})
    else:
        print(
            f"{sweep_dir}: {report.num_runs} runs in {without_password(uri)}; "
            f"uploaded {report.num_points} metric values and {report.num_files} files."
        )
        for problem in report.problems:
            print(f"not uploaded: {problem}")
    return 0 if report.is_complete else 1
