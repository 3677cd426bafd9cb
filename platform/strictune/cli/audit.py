"""``strictune audit``: what recorded completions of other people's runs really show."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from strictune.cli.tables import table_console
from strictune.errors import SpecError

if TYPE_CHECKING:
    from analysis.audit import Audit

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "completions",
        metavar="COMPLETIONS",
        type=Path,
        help="JSONL, plain or gzip, as for strictune score, with columns that name the arms",
    )
    parser.add_argument(
        "--schemas",
        metavar="FILE",
        type=Path,
        required=True,
        help="JSONL: schema, and the same prompt or id",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN,...",
        type=_columns,
        default=(),
        help="the columns of either file that name an arm, e.g. model,thinking,stage",
    )
    parser.add_argument(
        "--baseline",
        metavar="COLUMN=VALUE",
        help="which arms were not trained; each other arm is compared with the one that agrees "
        "with it on the other columns of --by",
    )
    parser.add_argument(
        "--contrast",
        metavar="COLUMN",
        action="append",
        default=[],
        help="compare arms that differ in this column of --by alone; repeatable",
    )
    parser.add_argument(
        "--only",
        metavar="COLUMN=VALUE,...",
        action="append",
        default=[],
        help="keep the completions with one of these values; repeatable",
    )
    parser.add_argument(
        "--rung", metavar="RUNG", help="judge by this rung (default: the task's primary one)"
    )
    parser.add_argument(
        "--family",
        metavar="COLUMN",
        help="the column that holds a prompt's family (default: family where there is one, else "
        "the skeleton of its schema)",
    )
    parser.add_argument(
        "--train",
        metavar="FILE",
        type=Path,
        help="JSONL that was trained on: prompt, and schema where it is known; says how many "
        "prompts and skeletons were met in training",
    )
    parser.add_argument("--json", action="store_true", help="print the audit as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    only = _kept(args.only)
    baseline = None if args.baseline is None else _assignment("--baseline", args.baseline)

    # The scorer is one task's; pandas and scipy take a second to import.
    from analysis.audit import BaselineIs, audit_completions, completion_table
    from analysis.writing import plain
    from trainables.tasks.strict_json.audited import audited_rows, read_training
    from trainables.tasks.strict_json.settings import StrictJsonSettings

    training = None if args.train is None else read_training(args.train)
    rows = completion_table(
        audited_rows(
            args.completions,
            args.schemas,
            by=args.by,
            only=only,
            family=args.family,
            training=training,
        )
    )
    if rows.empty:
        raise SpecError(f"{args.completions}: holds no completion{_that_only_keeps(args.only)}.")
    audit = audit_completions(
        rows,
        rung=args.rung or StrictJsonSettings().primary_rung,
        baseline=None if baseline is None else BaselineIs(*baseline),
        contrast_columns=args.contrast,
    )
    if args.json:
        print(json.dumps(plain(audit), indent=2, ensure_ascii=False))
    else:
        _print(audit)
    return 0


def _print(audit: "Audit") -> None:
    from analysis import audit as audits

    tables = {
        "arms: Pass@1 with 95% intervals": audits.rate_rows(audit),
        "arms: behaviour, means": audits.behaviour_rows(audit),
        "arms: rewards, means": audits.reward_rows(audit),
        "gains over baselines": audits.gain_rows(audit),
    }
    console = table_console()
    for title, rows in tables.items():
        if rows:
            console.print(_table(title, rows), markup=False)
    for sentence in (*audits.audit_sentences(audit), *audits.HOW_TO_READ):
        console.print(f"- {sentence}", markup=False, soft_wrap=True)


def _table(title: str, rows: Sequence[Mapping[str, str]]) -> Table:
    table = Table(title=title)
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, overflow="fold", justify="right" if number else "left")
    for row in rows:
        table.add_row(*row.values())
    return table


def _columns(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _kept(options: Sequence[str]) -> dict[str, list[str]]:
    kept: dict[str, list[str]] = {}
    for option in options:
        column, values = _assignment("--only", option)
        kept.setdefault(column, []).extend(part.strip() for part in values.split(","))
    return kept


def _assignment(option: str, text: str) -> tuple[str, str]:
    column, equals, value = (part.strip() for part in text.partition("="))
    if not (column and equals and value):
        raise SpecError(f"{option} {text}: expected COLUMN=VALUE, e.g. stage=baseline.")
    return column, value


def _that_only_keeps(options: Sequence[str]) -> str:
    return f" with {' and '.join(options)}" if options else ""
