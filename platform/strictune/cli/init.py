"""``strictune init``: look at a user's data and write a commented sweep file for it."""

import argparse
import ast
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from strictune.cli.terminal import shown_progress
from strictune.errors import SpecError, TrialError, did_you_mean

if TYPE_CHECKING:
    from strictune.config import SweepSpec
    from strictune.costs import SweepCosts
    from trainables.tasks.task import Prompt, Split, Task

__all__ = ["configure", "execute"]

PROMPT_NAMES = (
    "prompt",
    "question",
    "text",
    "instruction",
    "input",
    "query",
    "messages",
    "problem",
)
ANSWER_NAMES = ("answer", "label", "expected", "output", "target", "document", "json", "response")
SUCCESS_WORDS = ("accura", "correct", "success", "exact", "solved", "right")
GIVEN_NAMES = (
    "prompts",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
)
"""What reward functions are given beside the columns, as by TRL."""
DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
UNKNOWN_ANSWER_TOKENS = 256
CHARS_PER_TOKEN = 3
"""Fewer than a tokenizer's mean, where there is none: limits are to be too long, not too short."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--data",
        metavar="FILE",
        required=True,
        help="JSONL, JSON, CSV or Parquet, or a folder of them; a row needs a prompt",
    )
    parser.add_argument("--schema", metavar="FILE", help="the JSON Schema of all answers")
    parser.add_argument("--rewards", metavar="FILE", help="a Python file with TRL reward functions")
    parser.add_argument(
        "--model", metavar="M", default=DEFAULT_MODEL, help=f"what is trained ({DEFAULT_MODEL})"
    )
    parser.add_argument("--prompt", metavar="COLUMN", help="the prompts' column, if not guessed")
    parser.add_argument(
        "--answer", metavar="COLUMN", help="the expected documents' column, if not guessed"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("sweep.yaml"),
        help="the sweep file to write (default: sweep.yaml)",
    )


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.config import load_sweep
    from strictune.records import write_text
    from trainables.tasks import load_task
    from trainables.tasks.data_files import read_source
    from trainables.tasks.task import SPLITS

    if args.out.exists():
        raise SpecError(f"{args.out} exists; name another file with --out.")
    rows = [row.values for row in read_source(args.data)]
    if not rows:
        raise SpecError(f"{args.data}: holds no rows, expected at least one.")
    block = _task_block(args, rows)
    # Written beside its final name: relative paths start at the file's folder.
    draft = args.out.with_name(f".{args.out.name}")
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_text(draft, _sweep_text(args, block, _Sizes.unknown()))
        task = load_task(load_sweep(str(draft)).task)
        with shown_progress("rows") as on_progress:
            task.check(on_progress)
        splits = {split: task.prompts(split) for split in SPLITS}
        sizes = _sizes(args.model, task, splits)
        write_text(draft, _sweep_text(args, block, sizes))
        sweep = load_sweep(str(draft))
        draft.replace(args.out)
    finally:
        draft.unlink(missing_ok=True)
    costs = _costs(sweep)
    for line in (*_findings(args, rows, block, splits), sizes.sentence, *_cost_lines(costs)):
        print(line)
    if any(cell.grant is None and cell.problem for cell in costs.cells.values()):
        print(
            f"wrote {args.out}; it cannot run on this machine as it stands. Change it as said "
            f"above, or see what a GPU would take: strictune plan {args.out} --gpu 24"
        )
    else:
        print(f"wrote {args.out}; look it over, then: strictune run {args.out}")
    return 0


class _Block(NamedTuple):
    """The ``task`` block: its lines without indentation, and what was guessed."""

    lines: Sequence[str]
    prompt: str
    answer: str | None
    left_out: Sequence[str] = ()
    """Why functions that take ``completions`` are no rewards."""


class _Sizes(NamedTuple):
    """Lengths in tokens."""

    prompt_max: int
    answer_max: int | None
    """None: no answers are known."""
    counted_by: str

    @classmethod
    def unknown(cls) -> "_Sizes":
        """Return what stands in the file before anything was counted."""
        return cls(0, None, "")

    @property
    def max_completion_length(self) -> int:
        """A quarter above the longest answer, rounded up to 32."""
        if self.answer_max is None:
            return UNKNOWN_ANSWER_TOKENS
        return 32 * -(-(5 * self.answer_max // 4 + 16) // 32)

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, rounded up to 64; not below the task's own default."""
        return max(512, 64 * -(-self.prompt_max // 64))

    @property
    def sentence(self) -> str:
        """Say the lengths."""
        answers = "" if self.answer_max is None else f", answers up to {self.answer_max}"
        return f"prompts are up to {self.prompt_max} tokens long{answers} ({self.counted_by})"


def _task_block(args: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> _Block:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    prompt = args.prompt or _first(PROMPT_NAMES, columns)
    if args.prompt is not None and args.prompt not in columns:
        raise SpecError(_no_column("prompt", args.prompt, columns))
    if prompt is None:
        raise SpecError(
            f"{args.data}: no column looks like a prompt, found {', '.join(columns)}. Name it with "
            "--prompt."
        )
    if args.rewards is not None:
        return _functions_block(args, prompt, columns)
    answer = args.answer or _first(ANSWER_NAMES, [c for c in columns if _holds_json(rows, c)])
    if args.answer is not None and args.answer not in columns:
        raise SpecError(_no_column("answer", args.answer, columns))
    if args.schema is None and "schema" not in columns:
        raise SpecError(
            f"{args.data}: rows have no column schema. Give the schema of all answers with "
            "--schema FILE, or reward functions with --rewards FILE."
        )
    lines = ["kind: strict_json", f"train: {_beside(args.data, args.out)}"]
    if args.schema is not None:
        lines.append(f"schema: {_beside(args.schema, args.out)}")
    names = {"prompt": prompt} if prompt != "prompt" else {}
    names |= {"answer": answer} if answer is not None else {}
    return _Block([*lines, *_columns(names)], prompt, answer)


def _no_column(option: str, name: str, columns: Sequence[str]) -> str:

    hint = did_you_mean(name, columns)
    return f"--{option} {name}: not a column, found {', '.join(columns)}.{hint}"


def _functions_block(args: argparse.Namespace, prompt: str, columns: Sequence[str]) -> _Block:
    passed = {*columns, *GIVEN_NAMES} - {prompt, "prompt", "completion"}
    found = _reward_functions(Path(args.rewards), passed)
    names = [name for name, problem in found.items() if problem is None]
    left_out = [
        f"{args.rewards}: {name} is not taken for a reward: {problem}"
        for name, problem in found.items()
        if problem is not None
    ]
    if not names:
        raise SpecError("\n".join(left_out))
    success = next(
        (name for name in names if any(word in name.lower() for word in SUCCESS_WORDS)), names[-1]
    )
    lines = [
        "kind: functions",
        f"module: {_beside(args.rewards, args.out)}",
        f"rewards: [{', '.join(names)}]",
        f"success: {success} >= 1.0           # guessed: when is a completion right?",
        f"train: {_beside(args.data, args.out)}",
    ]
    return _Block(
        [*lines, *_columns({"prompt": prompt} if prompt != "prompt" else {})],
        prompt,
        None,
        left_out,
    )


def _columns(names: Mapping[str, str]) -> list[str]:
    pairs = ", ".join(f"{key}: {_scalar(name)}" for key, name in names.items())
    return [f"columns: {{{pairs}}}"] if names else []


def _reward_functions(path: Path, passed: Set[str]) -> dict[str, str | None]:
    """Return the public functions that take ``completions``, and why one cannot be called."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise SpecError(f"--rewards {path}: cannot be read as Python ({error}).") from error
    found = {
        node.name: _call_problem(node.args, passed)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and "completions" in {arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)}
    }
    if not found:
        raise SpecError(
            f"--rewards {path}: no function that it defines takes completions, as TRL's reward "
            "functions do, or their names begin with _. Define one there; it may call others."
        )
    return found


def _call_problem(given: ast.arguments, passed: Set[str]) -> str | None:
    """Say why a function cannot be called with what is passed by name, if it cannot."""
    positional = [arg.arg for arg in (*given.posonlyargs, *given.args)]
    required = positional[: len(positional) - len(given.defaults)]
    keywords = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    required += [arg.arg for arg, default in keywords if default is None]
    if missing := [name for name in required if name not in passed]:
        return f"it needs {', '.join(missing)}, and the rows have no such column."
    known = {*positional, *(arg.arg for arg in given.kwonlyargs)}
    if given.kwarg is None and passed - known:
        return "it takes no **kwargs, and rewards are given every column. Add them if it is one."
    return None


def _sweep_text(args: argparse.Namespace, block: _Block, sizes: _Sizes) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", Path(args.data).name.partition(".")[0].lower()).strip("-")
    limit = sizes.max_completion_length
    task = "\n".join(f"  {line}" for line in block.lines)
    if sizes.max_prompt_tokens > 512:
        task += f"\n  max_prompt_tokens: {sizes.max_prompt_tokens}"
    return f"""\
# Written by strictune init for {args.data}.
name: {_scalar(name or "sweep")}                      # results go to runs/{name or "sweep"}
task:
{task}
trial:
  model: {_scalar(args.model)}
  quantization: nf4                     # the base in 4 bits; an adapter is trained
  lora: {{r: 16, lora_alpha: 32}}
  grpo:
    max_steps: 300
    num_generations: 8                  # completions of a prompt, compared with each other
    per_device_train_batch_size: 8      # completions at once, four times: 4 prompts a step
    gradient_accumulation_steps: 4
    learning_rate: 2.0e-4               # an adapter's; full models take 1e-6 to 1e-5
    max_completion_length: {limit}          # longer completions are cut off, and fail
matrix:
  seed: [0, 1, 2]                       # three seeds: a verdict about the recipe, not about one run
evaluation:
  max_new_tokens: {limit}
  samples_per_prompt: 1
resources: {{gpus_per_trial: auto}}       # memory is measured, trials share a GPU by it
"""


def _sizes(model: str, task: "Task", splits: "Mapping[Split, Sequence[Prompt]]") -> _Sizes:
    prompts = [prompt for found in splits.values() for prompt in found]
    golds = [prompt.gold for prompt in prompts if prompt.gold]
    try:
        # transformers takes seconds, and a name may need a network.
        from trainables.models import load_tokenizer, resolve_model
        from trainables.prompting import render_prompt

        tokenizer = load_tokenizer(resolve_model(model))
        texts = [
            render_prompt(tokenizer, task.messages(prompt, thinking=False), thinking=False).text
            for prompt in prompts
        ]
        lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
        answers = [len(ids) for ids in tokenizer(golds)["input_ids"]] if golds else []
        counted_by = f"counted by the tokenizer of {model}"
    except TrialError as error:
        lengths = [len(prompt.text) // CHARS_PER_TOKEN for prompt in prompts]
        answers = [len(gold) // CHARS_PER_TOKEN for gold in golds]
        counted_by = f"guessed from characters: {error}"
    return _Sizes(max(lengths), max(answers, default=None), counted_by)


def _findings(
    args: argparse.Namespace,
    rows: Sequence[Mapping[str, Any]],
    block: _Block,
    splits: "Mapping[Split, Sequence[Prompt]]",
) -> list[str]:
    counts = Counter(str(row.get(block.prompt)) for row in rows)
    num_again = sum(counts.values()) - len(counts)
    columns = ", ".join(dict.fromkeys(name for row in rows for name in row))
    lines = [f"{args.data}: {len(rows)} rows with {columns}; prompts are in {block.prompt}"]
    if block.answer is not None:
        lines[0] += f", expected documents in {block.answer}"
    lines += block.left_out
    if num_again:
        lines.append(f"{num_again} rows repeat the prompt of another")
    for split, prompts in splits.items():
        families = len({prompt.family for prompt in prompts})
        lines.append(f"{split}: {len(prompts)} prompts of {families} families")
    return lines


def _costs(sweep: "SweepSpec") -> "SweepCosts":
    """Work out what ``strictune plan`` says of memory and time."""
    from strictune.config import expand
    from strictune.cost_cache import CostCache
    from strictune.costs import expected_costs
    from strictune.hardware import this_machine

    return expected_costs(sweep.resources, expand(sweep), [this_machine()], CostCache())


def _cost_lines(costs: "SweepCosts") -> list[str]:
    from strictune.cli.cost_tables import cost_notes

    memory = [
        f"a trial needs about {cell.memory.peak_gib:.1f} GiB ({cell.memory.source})"
        for cell in costs.cells.values()
        if cell.memory.peak_gib is not None
    ]
    return [*memory, *cost_notes(costs)]


def _holds_json(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether a column's first value is a document, or reads like one."""
    value = next((row[column] for row in rows if row.get(column) is not None), None)
    return isinstance(value, dict | list) or (
        isinstance(value, str) and value.lstrip().startswith(("{", "["))
    )


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    by_name = {column.lower(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _beside(path: str, out: Path) -> str:
    """Write a path as seen from the sweep file's folder."""
    return _scalar(Path(os.path.relpath(path, out.parent)).as_posix())


def _scalar(text: str) -> str:
    """Write text as YAML: as it is, or quoted where it would be read as something else."""
    is_plain = re.fullmatch(r"[A-Za-z.][\w./:-]*", text) is not None and not text.endswith(":")
    is_word = text.lower() in ("true", "false", "null", "yes", "no", "on", "off")
    return text if is_plain and not is_word else json.dumps(text, ensure_ascii=False)
