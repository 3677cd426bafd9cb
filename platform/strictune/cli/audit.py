"""``strictune audit``: compares recorded completions of runs that strictune did not make."""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from strictune.cli.terminal import print_json, table_console, text_table
from strictune.errors import SpecError

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
        "--criterion",
        metavar="CRITERION",
        help="judge by this criterion (default: the task's primary one)",
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
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="keep each arm there as the folder of a run, for strictune compare",
    )
    parser.add_argument("--json", action="store_true", help="print the audit as JSON")


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    # The scorer is one task's; pandas and scipy take a second to import.
    from analysis.audit.audit import audit_arms
    from analysis.audit.runs import BaselineIs, completion_table, write_runs
    from analysis.audit.wording import HOW_TO_READ, audit_sentences, audit_tables
    from analysis.tables import plain
    from trainables.tasks import load_task
    from trainables.tasks.strict_json.audited import audited_rows, read_training
    from trainables.tasks.strict_json.settings import StrictJsonSettings

    for path in (args.completions, args.schemas):
        if path.suffix in (".yaml", ".yml"):
            raise SpecError(
                f"{path}: expected JSONL. An audit is of strict_json alone, whose schemas are a "
                "file; for another task: strictune score COMPLETIONS --task SWEEP.yaml."
            )
    baseline = None if args.baseline is None else _assignment("--baseline", args.baseline)
    _check_columns(args, baseline)
    rows = completion_table(
        audited_rows(
            args.completions,
            args.schemas,
            by=args.by,
            only=_kept(args.only),
            family=args.family,
            training=None if args.train is None else read_training(args.train),
        )
    )
    if rows.empty:
        kept = f" with {' and '.join(args.only)}" if args.only else ""
        raise SpecError(f"{args.completions}: holds no completion{kept}.")
    settings = StrictJsonSettings()
    criterion = args.criterion or settings.primary_criterion
    suite = hashlib.sha256(args.schemas.read_bytes()).hexdigest()[:16]
    with _folder(args.out) as folder:
        arms = write_runs(
            rows,
            folder,
            criterion=criterion,
            key={"suite": suite, "scorer": load_task(settings).scorer_hash()},
            baseline=None if baseline is None else BaselineIs(*baseline),
        )
        audit = audit_arms(arms, criterion=criterion, contrast_columns=args.contrast)
    if args.json:
        print_json(plain(audit))
        return 0
    console = table_console()
    for title, table in audit_tables(audit).items():
        console.print(text_table(title, table, num_left=1))
    for sentence in (*audit_sentences(audit), *HOW_TO_READ):
        console.print(f"- {sentence}", markup=False, soft_wrap=True)
    return 0


def _check_columns(args: argparse.Namespace, baseline: tuple[str, str] | None) -> None:
    named = ", ".join(args.by) or "no column"
    if baseline is not None and baseline[0] not in args.by:
        raise SpecError(
            f"--baseline {args.baseline}: {baseline[0]} does not name the arms, {named} does. "
            "Add it to --by."
        )
    for column in args.contrast:
        if column not in args.by:
            raise SpecError(
                f"--contrast {column}: does not name the arms, {named} does. Add it to --by."
            )
        if baseline is not None and column == baseline[0]:
            raise SpecError(
                f"--contrast {column}: arms are compared with their baselines by this column "
                "already. Name another one, or leave --baseline out."
            )


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Yield the folder for the arms: ``out``, or a temporary one."""
    if out is None:
        with TemporaryDirectory(prefix="strictune-audit-") as folder:
            yield Path(folder)
        return
    if out.exists() and any(out.iterdir()):
        raise SpecError(f"--out {out}: is not empty. Name a new folder.")
    yield out


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
