"""``strictune data``: the prompts of any task in figures, and those of strict_json as files."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from strictune.cli.arguments import spec_from_options
from strictune.cli.terminal import print_json, shown_progress, table_console, text_table
from strictune.errors import SpecError, TrialError

if TYPE_CHECKING:
    from trainables.tasks.summary import DataSummary, SplitSummary, TierSummary
    from trainables.tasks.task import Prompt, Split, Task

__all__ = ["configure", "execute"]

_OPTIONS = {
    "data_seed": "--seed",
    "num_train_prompts": "--num-train",
    "num_eval_prompts": "--num-eval",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    generate = actions.add_parser(
        "generate",
        help="write train.jsonl, validation.jsonl and test.jsonl",
        description="Draws prompts with their schemas and gold documents, and writes them as "
        "JSONL. The same options give the same bytes.",
    )
    # The other action takes one; told apart from a mistyped option in words.
    generate.add_argument("source", nargs="?", help=argparse.SUPPRESS)
    generate.add_argument("--out", metavar="DIR", type=Path, required=True, help="where they go")
    generate.set_defaults(act=_generate)
    inspect = actions.add_parser(
        "inspect",
        help="show families, difficulties, constructs, lengths and sample prompts",
        description="Describes the prompts of a sweep's task, whichever it is, after checking all "
        "rows; or generated files, or the prompts that the options would give.",
    )
    inspect.add_argument(
        "source",
        metavar="SWEEP.yaml | DIR",
        nargs="?",
        type=Path,
        help="a sweep file, or a folder that generate wrote",
    )
    inspect.add_argument(
        "--tokenizer",
        dest="tokenizers",
        metavar="MODEL",
        action="append",
        default=[],
        help="also count the tokens of whole prompts, as this model sees them with thinking; "
        "repeatable",
    )
    inspect.add_argument(
        "--samples",
        metavar="N",
        type=int,
        default=1,
        help="prompts of each split and difficulty to show (default: 1)",
    )
    inspect.add_argument("--json", action="store_true", help="print everything as JSON")
    inspect.set_defaults(act=_inspect)
    for action in (generate, inspect):
        action.add_argument("--seed", metavar="N", type=int, help="data seed (default: 0)")
        action.add_argument("--num-train", metavar="N", type=int, help="training prompts")
        action.add_argument(
            "--num-eval", metavar="N", type=int, help="prompts of validation and of test, each"
        )


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    code: int = args.act(args)
    return code


def _generate(args: argparse.Namespace) -> int:
    from trainables.tasks.strict_json.export import write_splits

    if args.source is not None:
        raise SpecError(
            f"{args.source}: generate draws prompts of strict_json, by --seed, --num-train and "
            "--num-eval. For the prompts of a sweep's task, whichever it is: strictune data "
            f"inspect {args.source}."
        )
    splits = _drawn(args)
    for split, path in write_splits(args.out, splits).items():
        print(f"{path}: {len(splits[split])} prompts")
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from trainables.tasks.summary import summarize

    source = args.source
    if source is not None and any(value is not None for value in _drawing(args).values()):
        raise SpecError(
            f"{source} says which prompts there are: --seed, --num-train and --num-eval have no "
            "meaning with it. Leave out either."
        )
    if args.samples < 0:
        raise SpecError(f"--samples = {args.samples}, expected 0 or more.")
    task, splits = _task_and_splits(args)
    summary = summarize(
        splits,
        num_samples=args.samples,
        token_counters={model: _token_counter(model, task) for model in args.tokenizers},
    )
    if args.json:
        print_json(asdict(summary))
    else:
        _print_summary(summary)
    return 0


def _task_and_splits(args: argparse.Namespace) -> "tuple[Task, Mapping[Split, Sequence[Prompt]]]":
    from strictune.config import expand, load_sweep
    from trainables.tasks import TASKS, load_task
    from trainables.tasks.checking import check_task
    from trainables.tasks.task import SPLITS

    if args.source is not None and args.source.suffix in (".yaml", ".yml"):
        sweep = load_sweep(args.source)
        task, modes = load_task(sweep.task), {trial.thinking for trial in expand(sweep)}
        with shown_progress("rows") as on_progress:
            check_task(task, modes=sorted(modes), on_progress=on_progress)
        return task, {split: task.prompts(split) for split in SPLITS}
    task = load_task(TASKS["strict_json"].model_validate({}))
    if args.source is None:
        return task, _drawn(args)
    from trainables.tasks.strict_json.export import read_splits

    return task, read_splits(args.source)


def _drawing(args: argparse.Namespace) -> dict[str, int | None]:
    return {
        "data_seed": args.seed,
        "num_train_prompts": args.num_train,
        "num_eval_prompts": args.num_eval,
    }


def _drawn(args: argparse.Namespace) -> "Mapping[Split, Sequence[Prompt]]":
    from trainables.tasks.strict_json.data import build_splits
    from trainables.tasks.strict_json.settings import StrictJsonSettings

    settings = spec_from_options(StrictJsonSettings, _drawing(args), _OPTIONS)
    try:
        return build_splits(
            seed=settings.data_seed,
            num_train_prompts=settings.num_train_prompts,
            num_eval_prompts=settings.num_eval_prompts,
        )
    except ValueError as error:
        raise SpecError(str(error)) from error


def _token_counter(model: str, task: "Task") -> "Callable[[Prompt], int]":
    # Only here does this verb need transformers.
    from trainables.models import load_tokenizer, resolve_model
    from trainables.prompting import render_prompt

    try:
        tokenizer = load_tokenizer(resolve_model(model))
    except TrialError as error:
        raise SpecError(f"--tokenizer {model}: {error}") from error

    def count(prompt: "Prompt") -> int:
        # The longer of the two modes.
        messages = task.messages(prompt, thinking=True)
        return len(tokenizer(render_prompt(tokenizer, messages, thinking=True).text)["input_ids"])

    return count


def _print_summary(summary: "DataSummary") -> None:
    console = table_console()
    console.print(_tier_table(summary.splits))
    if any(split.constructs for split in summary.splits.values()):
        console.print(_construct_table(summary.splits))
    for pair, families in summary.num_shared_families.items():
        print(f"{pair} share {families} families and {summary.num_shared_prompts[pair]} prompts.")
    for name, split in summary.splits.items():
        for row in split.samples:
            print(f"\n{name} {row['id']}, {row['difficulty']}, family {row['family']}")
            for label, value in row.items():
                if label not in ("id", "difficulty", "family"):
                    is_text = isinstance(value, str)
                    text = str(value) if is_text else json.dumps(value, ensure_ascii=False)
                    print(f"  {label + ':':<10}" + text.replace("\n", "\n" + " " * 12))


def _tier_table(splits: "Mapping[str, SplitSummary]") -> Table:
    table = Table(title="prompts; lengths as median, 95% and longest")
    table.add_column("split")
    table.add_column("difficulty")
    units = _units(splits)
    for heading in ("prompts", "families", "of three or more", *units, "gold chars"):
        table.add_column(heading, justify="right")
    for name, split in splits.items():
        for difficulty, tier in split.difficulties.items():
            table.add_row(name, difficulty, *_tier_cells(tier, units))
        counts = (split.num_prompts, split.num_families, split.num_families_of_three)
        table.add_row(name, "all", *map(str, counts), end_section=True)
    return table


def _units(splits: "Mapping[str, SplitSummary]") -> list[str]:
    tiers = [tier for split in splits.values() for tier in split.difficulties.values()]
    return list(dict.fromkeys(unit for tier in tiers for unit in tier.prompt_lengths))


def _tier_cells(tier: "TierSummary", units: Sequence[str]) -> list[str]:
    lengths = [*(tier.prompt_lengths[unit] for unit in units), tier.gold_chars]
    return [
        str(tier.num_prompts),
        str(tier.num_families),
        str(tier.num_families_of_three),
        *(f"{length.median} / {length.p95} / {length.max}" for length in lengths),
    ]


def _construct_table(splits: "Mapping[str, SplitSummary]") -> Table:
    rows = [
        {"construct": construct}
        | {
            name: f"{split.constructs.get(construct, 0) / split.num_prompts:.1%}"
            for name, split in splits.items()
        }
        for construct in dict.fromkeys(name for one in splits.values() for name in one.constructs)
    ]
    return text_table("share of the prompts that use a construct", rows, num_left=1)
