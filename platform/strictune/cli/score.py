"""``strictune score``: the ladder and the rewards of recorded completions."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from strictune.cli.tables import table_console

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "completions",
        metavar="COMPLETIONS",
        type=Path,
        help="JSONL, plain or gzip: completion, prompt or id; optional: thinking, think_prefilled "
        "and columns of your own",
    )
    parser.add_argument(
        "--schemas",
        metavar="FILE",
        type=Path,
        required=True,
        help="JSONL: schema, and the same prompt or id",
    )
    parser.add_argument(
        "--rows", metavar="OUT.jsonl", type=Path, help="write one line for each completion"
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="break the counts down by a column of either file"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    # The scorer is one task's; other verbs start without it.
    from trainables.tasks.strict_json.recorded import score_file

    scores = score_file(args.completions, args.schemas, by=args.by, rows=args.rows)
    document = scores.all.document()
    groups = {name: tally.document() for name, tally in scores.by_group.items()}
    if args.json:
        by = {} if args.by is None else {"by": {args.by: groups}}
        print(json.dumps(document | by, indent=2, ensure_ascii=False))
    else:
        _print_tables({**groups, "all": document}, by=args.by or "")
    return 0


def _print_tables(documents: Mapping[str, Mapping[str, Any]], *, by: str) -> None:
    rungs, rewards = Table(title="rungs"), Table(title="rewards, means")
    for table, block in ((rungs, "rungs"), (rewards, "rewards")):
        table.add_column(escape(by))
        for heading in ("completions", *documents["all"][block]):
            table.add_column(heading, justify="right")
    for name, document in documents.items():
        total = document["num_completions"]
        counts = (f"{count} ({count / total:.1%})" for count in document["rungs"].values())
        means = (f"{mean:.3f}" for mean in document["rewards"].values())
        rungs.add_row(escape(name), str(total), *counts)
        rewards.add_row(escape(name), str(total), *means)
    console = table_console()
    console.print(rungs)
    console.print(rewards)
