"""``strictune compare``: one paired comparison of two runs."""

import argparse
from pathlib import Path

from strictune.cli.terminal import print_json, table_console, text_table

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("ours", metavar="RUN", type=Path, help="a run's folder")
    parser.add_argument("theirs", metavar="RUN", type=Path, help="the run to compare it with")
    parser.add_argument(
        "--criterion", help="judge by this criterion instead of the sweep's primary one"
    )
    parser.add_argument(
        "--across",
        choices=("grammar",),
        action="append",
        default=[],
        help="compare although this differs: a run under a grammar (evaluate --constrain) as the "
        "control of one that was trained",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    # pandas, scipy and statsmodels take a second to import.
    from analysis import compare_runs, comparison_lines, plain
    from analysis.answers import FIELDS
    from analysis.tables import texts

    compared = compare_runs(args.ours, args.theirs, args.criterion, across=args.across)
    if args.json:
        print_json(plain(compared))
    else:
        print("\n".join(comparison_lines(compared)))
        if compared.fields:
            title = f"{FIELDS.title}; difference: {' - '.join(compared.runs)}"
            table_console().print(text_table(title, texts(FIELDS, compared.fields), num_left=2))
    return 0
