"""``strictune report``: tables, figures, verdicts and completions as HTML and Markdown."""

import argparse
import json

from rich.console import Console

from strictune.cli.sweep_folder import add_sweep_folder, sweep_folder
from strictune.cli.verb import Verb

__all__ = ["VERB"]


def _configure(parser: argparse.ArgumentParser) -> None:
    add_sweep_folder(parser)
    parser.add_argument("--json", action="store_true", help="print the tables as JSON")


def _execute(args: argparse.Namespace) -> int:
    folder = sweep_folder(args)

    # pandas, scipy and altair take two seconds to import.
    from analysis.report import report_document, write_report

    with Console(stderr=True).status("reading the sweep") as status:
        report = write_report(folder, on_phase=status.update)
    if args.json:
        print(json.dumps(report_document(report), indent=2, ensure_ascii=False))
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


VERB = Verb(
    name="report",
    summary="write what a sweep shows as one HTML file and as Markdown",
    example="strictune report runs/quickstart",
    configure=_configure,
    execute=_execute,
)
