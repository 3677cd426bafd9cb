"""``strictune evaluate``: the scoring ladder for any model on any suite."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from strictune.cli.options import spec_from_options
from strictune.cli.tables import table_console
from strictune.cli.verb import Verb
from strictune.config import SamplingSpec
from strictune.errors import SpecError, TrialError

if TYPE_CHECKING:
    from analysis.measured import Measured
    from trainables.evaluation.standalone import EvaluationRequest

__all__ = ["VERB"]

DEFAULT_OUT = Path("runs") / "evaluations"

_SAMPLING_OPTIONS = {
    "samples_per_prompt": ("--samples", "completions per prompt"),
    "temperature": ("--temperature", "0 is greedy, with one sample"),
    "top_p": ("--top-p", "nucleus sampling"),
    "max_new_tokens": ("--max-new-tokens", "tokens of a completion"),
    "max_think_tokens": ("--max-think-tokens", "tokens on top with --thinking"),
    "num_prompts_per_difficulty": ("--num-per-difficulty", "so many prompts of each difficulty"),
    "batch_size": ("--batch-size", "completions generated together"),
    "seed": ("--seed", "seed of the sampling"),
}
"""Option and help of each field of ``SamplingSpec``."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="M",
        required=True,
        help="hub id, folder, package:smollm2-135m or builtin:tiny",
    )
    parser.add_argument("--adapter", metavar="DIR", help="adapter in PEFT's format, in safetensors")
    parser.add_argument(
        "--suite",
        metavar="SUITE",
        required=True,
        help="strict_json:validation, strict_json:test, or a JSONL file: id, prompt, schema, "
        "optional difficulty and family",
    )
    parser.add_argument(
        "--thinking", action="store_true", help="ask for a think block; the prompt opens it"
    )
    parser.add_argument("--quantization", choices=("nf4", "none"), help="default: nf4")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), help="default: bfloat16")
    _add_sampling_options(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help=f"the run's folder, new or empty (default: one in {DEFAULT_OUT})",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    defaults = SamplingSpec()
    for field, (option, note) in _SAMPLING_OPTIONS.items():
        default = getattr(defaults, field)
        is_fraction = isinstance(default, float)
        parser.add_argument(
            option,
            dest=field,
            metavar="P" if is_fraction else "N",
            type=float if is_fraction else int,
            help=f"{note} (default: {'all' if default is None else default})",
        )


def _execute(args: argparse.Namespace) -> int:
    sampling = _sampling(args)

    # torch, transformers, pandas and scipy.
    from analysis.measured import measure
    from analysis.records import read_run
    from trainables.evaluation.standalone import EvaluationRequest, evaluate_model

    request = spec_from_options(
        EvaluationRequest,
        {
            "model": args.model,
            "adapter": args.adapter,
            "suite": args.suite,
            "thinking": args.thinking,
            "quantization": args.quantization,
            "dtype": args.dtype,
            "sampling": sampling,
        },
        {name: f"--{name}" for name in ("model", "adapter", "suite")},
    )
    folder = args.out or _free_folder(request)
    try:
        with _progress() as on_progress:
            result = evaluate_model(request, folder, on_progress=on_progress)
    except TrialError as error:
        raise SpecError(str(error)) from error
    measured = measure(read_run(folder.resolve()))
    if args.json:
        print(json.dumps(_document(folder, result.summary(), measured), indent=2))
    else:
        _print_summary(result.summary(), measured)
        print(f"results: {folder}")
    return 0


def _sampling(args: argparse.Namespace) -> SamplingSpec:
    values = {field: getattr(args, field) for field in _SAMPLING_OPTIONS}
    if values["samples_per_prompt"] is None and values["temperature"] == 0:
        values["samples_per_prompt"] = 1
    names = {field: option for field, (option, _) in _SAMPLING_OPTIONS.items()}
    return spec_from_options(SamplingSpec, values, names)


def _free_folder(request: "EvaluationRequest") -> Path:
    """Return a folder that is not there yet."""
    from trainables.evaluation.standalone import evaluation_name

    name = evaluation_name(request)
    number = 1
    while (folder := DEFAULT_OUT / f"{name}-{number}").exists():
        number += 1
    return folder


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Yield what shows how many completions there are, on a terminal's error output."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("completions", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _document(folder: Path, summary: dict[str, Any], measured: "Measured") -> dict[str, Any]:
    rates = {rung: measured.rate(rung) for rung in measured.rungs}
    return {
        "folder": str(folder),
        **summary,
        "num_families": len(set(measured.families)),
        "intervals": {
            rung: None if rate.low != rate.low else [rate.low, rate.high]
            for rung, rate in rates.items()
        },
    }


def _print_summary(summary: dict[str, Any], measured: "Measured") -> None:
    from analysis.wording import rate_text

    parts = {name: measured.only(name) for name in summary["by_difficulty"]}
    table = Table(title=f"{summary['split']}: Pass@1 with 95% intervals")
    table.add_column("difficulty")
    for heading in ("prompts", "families", *measured.rungs):
        table.add_column(heading, justify="right")
    for name, part in (*parts.items(), ("all", measured)):
        counts = (str(len(part.table)), str(len(set(part.families))))
        table.add_row(name, *counts, *(rate_text(part.rate(rung)) for rung in part.rungs))
    table_console().print(table)
    print(
        f"{summary['num_completions']} completions of {summary['num_prompts']} prompts in "
        f"{summary['seconds']:.0f} s; {summary['completion_tokens_mean']:.0f} tokens on average, "
        f"{summary['truncated_frac']:.1%} cut off, {summary['think_rate']:.1%} with a think block."
    )
    errors = (f"{name} {count}" for name, count in summary["error_classes"].items() if name != "ok")
    print(f"failures: {', '.join(errors) or 'none'}.")


VERB = Verb(
    name="evaluate",
    summary="measure any model on a suite",
    example="strictune evaluate --model builtin:tiny --suite strict_json:validation",
    configure=_configure,
    execute=_execute,
)
