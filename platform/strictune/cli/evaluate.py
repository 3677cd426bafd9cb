"""``strictune evaluate``: the scoring ladder for any model on any suite."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strictune.cli.arguments import spec_from_options
from strictune.cli.terminal import print_json, shown_progress, table_console, text_table
from strictune.errors import SpecError, TrialError

if TYPE_CHECKING:
    from analysis.measured import Measured
    from strictune.config import SamplingSpec
    from trainables.evaluation.standalone import Evaluation, EvaluationRequest

__all__ = ["configure", "execute"]

DEFAULT_OUT = Path("runs") / "evaluations"
DEFAULT_TASK = "strict_json"

_SAMPLING_OPTIONS = {
    "samples_per_prompt": ("--samples", 4, "completions per prompt"),
    "temperature": ("--temperature", 0.7, "0 is greedy, with one sample"),
    "top_p": ("--top-p", 0.95, "nucleus sampling"),
    "max_new_tokens": ("--max-new-tokens", 512, "tokens of a completion"),
    "max_think_tokens": ("--max-think-tokens", 0, "tokens on top with --thinking"),
    "num_prompts_per_difficulty": (
        "--num-per-difficulty",
        None,
        "so many prompts of each difficulty",
    ),
    "batch_size": ("--batch-size", 32, "completions generated together"),
    "seed": ("--seed", 0, "seed of the sampling"),
}
"""Option, default and help of each field of ``SamplingSpec``, whose import help can do without."""
DTYPES = ("auto", "bfloat16", "float16", "float32")
_REQUEST_OPTIONS = ("model", "adapter", "suite", "max_prompt_tokens")
_SINGLE_OPTIONS = (*_REQUEST_OPTIONS, "task", "thinking", "quantization", "dtype")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--model", metavar="M", help="hub id, folder, package:smollm2-135m or builtin:tiny"
    )
    parser.add_argument("--adapter", metavar="DIR", help="adapter in PEFT's format, in safetensors")
    parser.add_argument(
        "--suite",
        metavar="SUITE",
        help="<task>:validation or <task>:test, e.g. strict_json:test; schemastore, "
        "bfcl-eval[:PART] or jsonschemabench[:PART]; or a file in the task's format, for "
        "strict_json JSONL with id, prompt, schema, optional difficulty and family",
    )
    parser.add_argument(
        "--task",
        metavar="TASK",
        help="a sweep file whose task block holds data and judge, or a kind with its default "
        "settings (default: the suite's, else strict_json)",
    )
    parser.add_argument(
        "--max-prompt-tokens",
        metavar="N",
        type=int,
        help="longer prompts are dropped from schemastore, bfcl-eval and jsonschemabench, "
        "refused elsewhere (default: the task's limit, 512)",
    )
    parser.add_argument(
        "--thinking", action="store_true", help="ask for a think block; the prompt opens it"
    )
    parser.add_argument(
        "--constrain",
        action="store_true",
        help="decode under the grammar of each prompt's JSON Schema, behind the think block: would "
        "a grammar have done it?",
    )
    parser.add_argument(
        "--sweep",
        metavar="SWEEP",
        help="instead of --model and --suite, with --constrain: the untrained models of a sweep on "
        "its prompts, as the control arm of its report",
    )
    parser.add_argument("--quantization", choices=("nf4", "none"), help="default: nf4")
    parser.add_argument("--dtype", choices=DTYPES, help="default: auto")
    _add_sampling_options(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help=f"the run's folder, new or empty (default: one in {DEFAULT_OUT}); with --sweep, "
        "where sweeps lie by name (default: runs)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    for field, (option, default, note) in _SAMPLING_OPTIONS.items():
        is_fraction = isinstance(default, float)
        parser.add_argument(
            option,
            dest=field,
            metavar="P" if is_fraction else "N",
            type=float if is_fraction else int,
            help=f"{note} (default: {'all' if default is None else default})",
        )


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    if args.sweep is not None:
        from strictune.cli.evaluate_sweep import evaluate_sweep

        args.out = args.out or DEFAULT_OUT.parent
        return evaluate_sweep(args, _given(args))
    missing = [option for option in ("--model", "--suite") if not getattr(args, option[2:])]
    if missing:
        raise SpecError(f"{' and '.join(missing)}: missing. Give both, or --sweep.")
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
            "task": _task(args.task, args.suite),
            "thinking": args.thinking,
            "constrain": args.constrain,
            "quantization": args.quantization,
            "dtype": args.dtype,
            "sampling": sampling,
            "max_prompt_tokens": args.max_prompt_tokens,
        },
        {name: f"--{name.replace('_', '-')}" for name in _REQUEST_OPTIONS},
    )
    folder = args.out or _free_folder(request)
    try:
        with shown_progress("completions") as on_progress:
            evaluation = evaluate_model(request, folder, on_progress=on_progress)
    except TrialError as error:
        raise SpecError(str(error)) from error
    measured = measure(read_run(folder.resolve()))
    if args.json:
        print_json(_document(folder, evaluation, measured))
    else:
        _print_summary(evaluation, measured)
        print(f"results: {folder}")
    return 0


def _task(given: str | None, suite: str) -> dict[str, Any]:
    """Return the settings of the task that the suite belongs to, as plain data."""
    from strictune.config import load_sweep
    from trainables.tasks import BROKEN, TASKS

    kind = suite.partition(":")[0] if given is None else given
    if kind in BROKEN:
        raise SpecError(f"--task {kind}: {BROKEN[kind]}")
    if kind in TASKS:
        return {"kind": kind}
    if given is None:
        return {"kind": DEFAULT_TASK}
    if not Path(given).exists():
        raise SpecError(
            f"--task {given}: expected a sweep file, or one of {', '.join(sorted(TASKS))}."
        )
    return load_sweep(Path(given)).task.model_dump(mode="json")


def _given(args: argparse.Namespace) -> list[str]:
    """Return the options of a single evaluation that were given."""
    names = {name: f"--{name.replace('_', '-')}" for name in _SINGLE_OPTIONS}
    names |= {field: option for field, (option, *_) in _SAMPLING_OPTIONS.items()}
    return [option for name, option in names.items() if getattr(args, name) not in (None, False)]


def _sampling(args: argparse.Namespace) -> "SamplingSpec":
    from strictune.config import SamplingSpec

    values = {field: getattr(args, field) for field in _SAMPLING_OPTIONS}
    if values["samples_per_prompt"] is None and values["temperature"] == 0:
        values["samples_per_prompt"] = 1
    names = {field: option for field, (option, *_) in _SAMPLING_OPTIONS.items()}
    return spec_from_options(SamplingSpec, values, names)


def _free_folder(request: "EvaluationRequest") -> Path:
    """Return a folder that is not there yet."""
    from trainables.evaluation.standalone import evaluation_name

    name = evaluation_name(request)
    number = 1
    while (folder := DEFAULT_OUT / f"{name}-{number}").exists():
        number += 1
    return folder


def _document(folder: Path, evaluation: "Evaluation", measured: "Measured") -> dict[str, Any]:
    rates = {criterion: measured.rate(criterion) for criterion in measured.criteria}
    sampled = {criterion: measured.sampled_rates(criterion) for criterion in measured.criteria}
    return {
        "folder": str(folder),
        **evaluation.result.summary(),
        "num_families": len(set(measured.families)),
        "intervals": {
            criterion: None if rate.low != rate.low else [rate.low, rate.high]
            for criterion, rate in rates.items()
        },
        "samples": {
            criterion: [found._asdict() for found in rates] for criterion, rates in sampled.items()
        },
        "dropped": dict(evaluation.dropped),
    }


def _print_summary(evaluation: "Evaluation", measured: "Measured") -> None:
    from trainables.evaluation.suite_source import dropped_text

    summary = evaluation.result.summary()
    console = table_console()
    title = f"{summary['split']}: Pass@1 with 95% intervals"
    console.print(text_table(title, _rate_rows(summary, measured), num_left=1))
    if sampled := _sampled_rows(measured):
        console.print(text_table("all prompts, several samples", sampled, num_left=1))
        print("pass@k: at least one of k samples is right; pass^k: all k are.")
    tokens = summary["num_completions"] * summary["completion_tokens_mean"]
    print(
        f"{summary['num_completions']} completions of {summary['num_prompts']} prompts in "
        f"{summary['seconds']:.0f} s, {tokens / summary['seconds']:.0f} tokens a second; "
        f"{summary['completion_tokens_mean']:.0f} tokens on average, "
        f"{summary['truncated_frac']:.1%} cut off, {summary['think_rate']:.1%} with a think block."
    )
    errors = (f"{name} {count}" for name, count in summary["error_classes"].items() if name != "ok")
    if "grammar_problems" in summary:
        print(_grammar_text(summary))
    print(f"failures: {', '.join(errors) or 'none'}.")
    if evaluation.dropped:
        num_dropped = sum(evaluation.dropped.values())
        print(f"dropped from the suite: {num_dropped} ({dropped_text(evaluation.dropped)}).")


def _grammar_text(summary: dict[str, Any]) -> str:
    problems = summary["grammar_problems"]
    num_free = sum(problems.values())
    reasons = "; ".join(f"{count}: {reason}" for reason, count in problems.items())
    kept = (
        f"under a grammar: {summary['num_prompts'] - num_free} of {summary['num_prompts']} prompts"
    )
    return f"{kept}; decoded freely: {num_free}{f' ({reasons})' if reasons else ''}."


def _rate_rows(summary: dict[str, Any], measured: "Measured") -> list[dict[str, str]]:
    from analysis.tables import rate_text

    parts = {name: measured.only(name) for name in summary["by_difficulty"]}
    return [
        {
            "difficulty": name,
            "prompts": str(len(part.table)),
            "families": str(len(set(part.families))),
            **{criterion: rate_text(part.rate(criterion)) for criterion in part.criteria},
        }
        for name, part in (*parts.items(), ("all", measured))
    ]


def _sampled_rows(measured: "Measured") -> list[dict[str, str]]:
    """Return pass@k and pass^k of every criterion; empty for one sample a prompt."""
    rows = []
    sampled = [measured.sampled_rates(criterion) for criterion in measured.criteria]
    for rates in zip(*sampled, strict=True):
        by_criterion = dict(zip(measured.criteria, rates, strict=True))
        k = rates[0].k
        at_least_one = {name: f"{rate.pass_at_k:.1%}" for name, rate in by_criterion.items()}
        rows.append({"": f"pass@{k}"} | at_least_one)
        if k > 1:
            every = {name: f"{rate.pass_hat_k:.1%}" for name, rate in by_criterion.items()}
            rows.append({"": f"pass^{k}"} | every)
    return rows
