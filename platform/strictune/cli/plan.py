"""``strictune plan``: the cells and trials of a sweep; starts nothing."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from strictune.cli.tables import table_console
from strictune.cli.verb import Verb, add_sweep_options
from strictune.config import expand, load_sweep
from strictune.plan import parse_only, plan_document, select

__all__ = ["VERB"]


def _configure(parser: argparse.ArgumentParser) -> None:
    add_sweep_options(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def _execute(args: argparse.Namespace) -> int:
    sweep = load_sweep(args.sweep, args.overrides)
    plan = plan_document(sweep, select(expand(sweep), parse_only(args.only)))
    if args.json:
        print(json.dumps(plan, indent=2, ensure_ascii=False))
    else:
        _print_tables(plan)
    return 0


def _print_tables(plan: Mapping[str, Any]) -> None:
    console = table_console()
    table = Table(title=f"{plan['sweep']}: {plan['num_cells']} cells, {plan['num_trials']} trials")
    for heading in ("cell", "seeds"):
        table.add_column(heading)
    for heading in ("steps", "completions a step", "tokens, training", "tokens, evaluation"):
        table.add_column(heading, justify="right")
    table.add_column("stages")
    for cell in plan["cells"]:
        table.add_row(*_row(cell))
    console.print(table)
    resources = plan["resources"]
    at_once = resources["max_concurrent_trials"] or "as many as fit"
    console.print(
        f"Each trial is granted {resources['gpus_per_trial']:g} GPU, where there is one, and "
        f"{resources['cpus_per_trial']:g} CPU; trials at the same time: {at_once}."
    )
    contrasts = ", ".join(plan["contrasts"]) or "none"
    console.print(f"Task {plan['task']}, judged by {plan['primary_rung']}; contrasts: {contrasts}.")
    tied = [cell["name"] for cell in plan["cells"] if cell["ties"]]
    if tied:
        console.print(f"Cells whose weights let failures tie with passes: {', '.join(tied)}.")


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    stages = cell["stages"]
    return (
        cell["name"],
        ", ".join(map(str, cell["seeds"])),
        str(sum(stage["steps"] for stage in stages)),
        str(cell["completions_per_step"]),
        str(cell["max_completion_tokens"]),
        str(cell["max_evaluation_tokens"]),
        ", ".join(f"{stage['name']} {stage['steps']}" for stage in stages),
    )


VERB = Verb(
    name="plan",
    summary="show the cells, trials, steps and limits of a sweep; starts nothing",
    example="strictune plan search_spaces/quickstart.yaml --only thinking=true",
    configure=_configure,
    execute=_execute,
)
