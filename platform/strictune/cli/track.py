"""``strictune track replay``: copies a sweep's records into a tracking store after the fact."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from strictune.errors import SpecError

if TYPE_CHECKING:
    from strictune.tracking import SyncReport

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
    replay.add_argument("sweep", metavar="SWEEP", help="the sweep's folder, or its name")
    replay.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="the store; by default MLFLOW_TRACKING_URI, else where the sweep was tracked last",
    )
    replay.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where sweeps lie by name"
    )
    replay.add_argument("--json", action="store_true", help="print the counts as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.tracking import replay, tracking_uri_for, without_password

    sweep_dir = _sweep_dir(args.sweep, args.out)
    uri = tracking_uri_for(sweep_dir, args.tracking_uri)
    report = replay(sweep_dir, uri)
    if report.is_complete:
        from analysis import sweep_verdicts
        from strictune.cli.promotion import promote_best

        promote_best(sweep_dir, uri, sweep_verdicts(sweep_dir), tell=_tell_aside)
    if args.json:
        print(json.dumps({"tracking_uri": without_password(uri), **asdict(report)}, indent=2))
    else:
        _print(report, sweep_dir, without_password(uri))
    return 0 if report.is_complete else 1


def _tell_aside(line: str) -> None:
    print(line, file=sys.stderr)


def _sweep_dir(sweep: str, out_dir: Path) -> Path:
    for path in (Path(sweep), out_dir / sweep):
        if (path / "plan.json").is_file():
            return path
    raise SpecError(
        f"{sweep}: neither {Path(sweep)} nor {out_dir / sweep} is the folder of a sweep (it has "
        "no plan.json). Give the folder that `strictune run` printed, or --out."
    )


def _print(report: "SyncReport", sweep_dir: Path, uri: str) -> None:
    print(
        f"{sweep_dir}: {report.num_runs} runs in {uri}; "
        f"uploaded {report.num_points} metric values and {report.num_files} files."
    )
    for problem in report.problems:
        print(f"not uploaded: {problem}")
