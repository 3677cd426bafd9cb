"""``strictune report``: tables, figures, verdicts and completions as HTML and Markdown."""

import argparse

from rich.console import Console

from strictune.cli.arguments import add_sweep_folder, sweep_folder
from strictune.cli.terminal import print_json

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_sweep_folder(parser)
    parser.add_argument("--json", action="store_true", help="print the tables as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    folder = sweep_folder(args)

    # pandas, scipy and altair take two seconds to import.
    from analysis.report import report_document, write_report

    with Console(stderr=True).status("reading the sweep") as status:
        report = write_report(folder, on_phase=status.update)
    if args.json:
        print_json(report_document(report))
        return 0
    print(f"{report.html}: {report.html_bytes / 1e6:.1f} MB, {report.num_figures} figures")
    print(report.markdown)
    if report.num_flips_left_out:
        print(f"no room for {report.num_flips_left_out} rescued or regressed prompts in the page")
    for problem in report.sweep.problems:
        print(f"left out: {problem}")
    for number, step in enumerate(report.steps, start=1):
        print(f"{number}. {step.text}")
        if step.command:
            print(f"   {step.command}")
    print(f"to bring the report to MLflow: strictune track replay {folder}")
    return 0
