"""``strictune plan``: the cells and trials of a sweep and what they cost; starts nothing."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.table import Table

from strictune.cli.arguments import add_sweep_options
from strictune.cli.terminal import print_json, shown_progress, table_console
from strictune.hardware import this_machine
from strictune.packing import Gpu, Machine

if TYPE_CHECKING:
    from strictune.config import SweepSpec
    from strictune.costs import SweepCosts
    from strictune.planning import SharedBudget

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_sweep_options(parser)
    parser.add_argument(
        "--gpu",
        type=_gib,
        metavar="GIB",
        help="plan for one GPU with so much memory instead of this machine's, e.g. 24",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.config import expand, load_sweep
    from strictune.cost_cache import CostCache
    from strictune.costs import expected_costs
    from strictune.planning import (
        check_tasks,
        costed_trials,
        golds_sentences,
        low_rate_sentences,
        parse_only,
        plan_document,
        search_sentence,
        select,
        shared_budgets,
    )

    sweep = load_sweep(args.sweep, args.overrides)
    trials = select(expand(sweep), parse_only(args.only))
    with shown_progress("rows") as on_progress:
        check_tasks(trials, on_progress)
    machine = _machine(args.gpu)
    plan = plan_document(sweep, trials)
    paid, cache = costed_trials(sweep, trials), CostCache()
    costs = expected_costs(sweep.resources, paid, [machine], cache)
    budgets = shared_budgets(trials, at_once=costs.at_once)
    auto = sweep.resources.model_copy(update={"gpus_per_trial": "auto"})
    packed = expected_costs(auto, paid, [machine], cache)
    warnings = [
        *low_rate_sentences(trials),
        *golds_sentences(trials),
        *_packing_sentences(sweep, at_once=costs.at_once, packed=packed.at_once),
    ]
    begins: list[str] = []
    if sweep.search is not None and sweep.search.warm_start:
        # Imported here: it takes pandas with it.
        from analysis.study.earlier import earlier_sentences

        begins = earlier_sentences(sweep, trials)
    if args.json:
        shares = {
            "costs": costs.document(),
            "budgets": [found._asdict() for found in budgets],
            "warnings": warnings,
            "warm_start": begins,
        }
        print_json(plan | shares)
    else:
        _print_tables(plan, costs, search=search_sentence(sweep))
        for found in budgets:
            print(_budget_sentence(found, at_once=costs.at_once))
        for sentence in [*begins, *warnings]:
            print(sentence)
    return 0


def _packing_sentences(sweep: "SweepSpec", *, at_once: int | None, packed: int | None) -> list[str]:
    """Name auto packing where it would run more trials at once than the file's share."""
    if at_once is None or packed is None or packed <= at_once:
        return []
    return [
        f"resources.gpus_per_trial = {sweep.resources.gpus_per_trial}: {at_once} at once. With "
        f"auto, which packs trials by memory, about {packed} would fit."
    ]


def _gib(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError(f"invalid size {text}; expected GiB > 0, e.g. 24")
    return size


def _machine(gpu_size_gib: float | None) -> Machine:
    machine = this_machine()
    if gpu_size_gib is None:
        return machine
    gpu = Gpu(name=f"a GPU of {gpu_size_gib:g} GiB", memory_gib=gpu_size_gib)
    return replace(machine, gpus=1, gpu=gpu)


def _print_tables(plan: Mapping[str, Any], costs: "SweepCosts", *, search: str | None) -> None:
    from strictune.cli.cost_tables import cost_notes, cost_table

    console = table_console()
    # A search trains a cell's trials as often as it has points, and those that confirm its winner.
    num_trials = sum(cell.num_trials for cell in costs.cells.values())
    counts = f"{_counted(plan['num_cells'], 'cell')}, {_counted(num_trials, 'trial')}"
    table = Table(title=f"{plan['sweep']}: {counts}")
    for heading in ("cell", "seeds"):
        table.add_column(heading)
    for heading in ("steps", "completions a step", "tokens, training", "tokens, evaluation"):
        table.add_column(heading, justify="right")
    table.add_column("stages")
    for cell in plan["cells"]:
        table.add_row(*_row(cell))
    console.print(table)
    console.print(cost_table(costs))
    for note in cost_notes(costs):
        console.print(note, markup=False, soft_wrap=True)
    if search is not None:
        console.print(search, markup=False, soft_wrap=True)
    contrasts = ", ".join(plan["contrasts"]) or "none"
    console.print(
        f"Task {plan['task']}, judged by {plan['primary_criterion']}; contrasts: {contrasts}."
    )
    tied = [cell["name"] for cell in plan["cells"] if cell["ties"]]
    if tied:
        console.print(f"Cells whose weights let failures tie with passes: {', '.join(tied)}.")


def _budget_sentence(found: "SharedBudget", *, at_once: int | None) -> str:
    whole = f"{found.key} = {found.sweep:g} is the sweep's"
    if found.process is None:
        return f"{whole}, shared by the trials that run at the same time."
    return f"{whole}: {found.process:g} for each process, {at_once} trials at the same time."


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" + ("" if number == 1 else "s")


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    stages = cell["stages"]
    return (
        cell["name"],
        ", ".join(map(str, cell["seeds"])),
        str(sum(stage["steps"] for stage in stages)),
        str(cell["completions_per_step"]),
        str(cell["max_completion_tokens"]),
        str(cell["max_evaluation_tokens"]),
        ", ".join(
            f"{stage['name']} {stage['steps']}"
            + ("" if stage["method"] == cell["method"] else f" by {stage['method']}")
            for stage in stages
        ),
    )
