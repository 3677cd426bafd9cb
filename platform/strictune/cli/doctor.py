"""``strictune doctor``: what works on this machine, and the cure for what does not."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from strictune.cli.terminal import print_json, table_console
from strictune.doctor import CHECKS, Finding, Place, examine

__all__ = ["configure", "doctor_document", "execute"]

STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red"}
EXIT_BROKEN = 1
STATUS_WIDTH, NAME_WIDTH = 7, 19


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where results would go (default: runs); nothing is left there",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    findings = []
    place = Place(args.out, os.environ)
    console = table_console()
    waiting = console.status("trying models, Ray and MLflow; this takes half a minute or more")
    with waiting if console.is_terminal and not args.json else nullcontext():
        for finding in examine(CHECKS, place):
            findings.append(finding)
            if not args.json:
                _print_finding(console, finding)
    if args.json:
        print_json(doctor_document(findings))
    else:
        console.print(_summary(findings))
    return EXIT_BROKEN if any(finding.status == "broken" for finding in findings) else 0


def doctor_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what was found as plain data."""
    return {
        "num_by_status": _num_by_status(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _print_finding(console: Console, finding: Finding) -> None:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=STATUS_WIDTH)
    row.add_column(width=NAME_WIDTH)
    row.add_column(overflow="fold")
    row.add_row(Text(finding.status, STYLES[finding.status]), finding.name, Text(finding.found))
    if finding.cure is not None:
        row.add_row("", Text("cure", "bold"), Text(finding.cure))
    console.print(row)


def _summary(findings: Sequence[Finding]) -> str:
    counted = _num_by_status(findings)
    warnings = f"{counted['warning']} warning{'s' * (counted['warning'] != 1)}"
    return f"\n{counted['ok']} ok, {warnings}, {counted['broken'] or 'nothing'} broken."


def _num_by_status(findings: Sequence[Finding]) -> Mapping[str, int]:
    return dict.fromkeys(STYLES, 0) | Counter(finding.status for finding in findings)
