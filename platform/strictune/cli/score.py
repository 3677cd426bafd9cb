"""``strictune score``: the ladder and the rewards of recorded completions."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strictune.cli.terminal import print_json, shown_progress, table_console, text_table
from strictune.errors import SpecError, TrialError

if TYPE_CHECKING:
    from trainables.tasks.recorded import RecordedScores

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
    judged_by = parser.add_mutually_exclusive_group(required=True)
    judged_by.add_argument(
        "--schemas", metavar="FILE", type=Path, help="JSONL: schema, and the same prompt or id"
    )
    judged_by.add_argument(
        "--task",
        metavar="SWEEP.yaml",
        type=Path,
        help="score with the task of a sweep, such as reward functions of your own; the prompt or "
        "id is one of its prompts",
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
    scores = _scores(args)
    document = scores.all.document()
    groups = {name: tally.document() for name, tally in scores.by_group.items()}
    if args.json:
        by = {} if args.by is None else {"by": {args.by: groups}}
        print_json(document | by)
    else:
        _print_tables({**groups, "all": document}, by=args.by or "")
    return 0


def _scores(args: argparse.Namespace) -> "RecordedScores":
    if args.task is None:
        # The scorer is one task's; other verbs start without it.
        from trainables.tasks.strict_json.recorded import score_file

        return score_file(args.completions, args.schemas, by=args.by, rows=args.rows)
    from strictune.config import load_sweep
    from strictune.config.weights import active_weights
    from trainables.tasks import load_task
    from trainables.tasks.recorded import add_up, score_with_task

    sweep = load_sweep(args.task)
    task = load_task(sweep.task)

    def weights(thinking: bool) -> Mapping[str, float]:
        return active_weights(
            sweep.task,
            thinking=thinking,
            rewards=sweep.trial.rewards,
            rewards_no_think=sweep.trial.rewards_no_think,
        )

    with shown_progress("rows") as on_progress:
        task.check(on_progress)
    try:
        return add_up(
            score_with_task(args.completions, task, weights),
            criteria=task.criteria,
            components=task.components,
            inputs=(args.completions, args.task),
            by=args.by,
            rows=args.rows,
        )
    except TrialError as error:
        raise SpecError(str(error)) from error


def _print_tables(documents: Mapping[str, Mapping[str, Any]], *, by: str) -> None:
    criteria, rewards = [], []
    for name, document in documents.items():
        total = document["num_completions"]
        known = total - document.get("num_missing", 0)
        row = {by: name, "completions": str(total)}
        counts = document["criteria"].items()
        criteria.append(row | {k: f"{n} ({n / known:.1%})" if known else "-" for k, n in counts})
        means = document["rewards"] | {"total": document["total"]}
        rewards.append(
            row | {k: "-" if mean is None else f"{mean:.3f}" for k, mean in means.items()}
        )
    console = table_console()
    console.print(text_table("criteria", criteria, num_left=1))
    console.print(text_table("rewards, means", rewards, num_left=1))
