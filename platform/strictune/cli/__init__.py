"""The command line: ``strictune VERB ...``, also ``python -m strictune``.

Each verb is a module of its own with ``configure`` and ``execute``, listed in ``VERBS`` and
imported when it is called; this module parses, delegates and turns errors into one message and an
exit code: 0 done, 1 some trials failed, 2 bad input or a file that cannot be used, 130 interrupted.
"""

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from strictune import __version__
from strictune.errors import StrictuneError, TrialError

__all__ = ["VERBS", "Verb", "main", "make_parser"]

logger = logging.getLogger(__name__)


class Verb(NamedTuple):
    """One verb, which the module of its name configures and executes."""

    name: str
    summary: str
    """One line of the help screen."""
    example: str
    """A complete command line."""


VERBS = (
    Verb(
        "init",
        "write a sweep file for data, a schema or reward functions of your own",
        "strictune init --data orders.jsonl --schema order.schema.json",
    ),
    Verb(
        "run",
        "run or resume a sweep, and say what helped",
        "strictune run search_spaces/quickstart.yaml",
    ),
    Verb(
        "stop",
        "end a running sweep, or one of its trials, cleanly",
        "strictune stop runs/quickstart",
    ),
    Verb(
        "plan",
        "show the trials of a sweep, their memory, places and hours; starts nothing",
        "strictune plan search_spaces/quickstart.yaml --only thinking=true",
    ),
    Verb(
        "watch",
        "show how the trials of a sweep stand, live, from any terminal",
        "strictune watch runs/quickstart",
    ),
    Verb(
        "score",
        "score recorded completions against their schemas; no model needed",
        "strictune score completions.jsonl.gz --schemas schemas.jsonl --by difficulty",
    ),
    Verb(
        "evaluate",
        "measure any model on a suite",
        "strictune evaluate --model builtin:tiny --suite strict_json:validation",
    ),
    Verb(
        "compare",
        "compare the results of two runs on the same prompts",
        "strictune compare runs/quickstart/trials/A runs/quickstart/trials/B",
    ),
    Verb(
        "report",
        "write what a sweep shows as one HTML file and as Markdown",
        "strictune report runs/quickstart",
    ),
    Verb(
        "audit",
        "compare recorded completions of other runs, arm by arm",
        "strictune audit completions.jsonl.gz --schemas schemas.jsonl --by model,stage "
        "--baseline stage=baseline",
    ),
    Verb(
        "export",
        "write a trial's result as a model folder with its model card",
        "strictune export quickstart/TRIAL --merge --out models/mine",
    ),
    Verb(
        "weights",
        "replay other reward weights on a sweep's recorded completions",
        "strictune weights replay runs/quickstart --weights schema=0.6,strictness=0.4",
    ),
    Verb(
        "data",
        "write or describe the synthetic prompts of strict_json",
        "strictune data generate --out data/strict_json --seed 0",
    ),
    Verb(
        "track",
        "upload what a tracking store missed of a sweep",
        "strictune track replay runs/quickstart --tracking-uri http://127.0.0.1:5000",
    ),
    Verb("schema", "print the JSON Schema of sweep files", "strictune schema > sweep.schema.json"),
    Verb(
        "doctor",
        "try what sweeps need on this machine, and say how to cure what fails",
        "strictune doctor --out runs",
    ),
)
"""In the order of the help screen."""

EXIT_FAILED_TRIALS = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _replace_unencodable()
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.execute is None:
        parser.print_help()
        return EXIT_BAD_INPUT
    try:
        code = int(args.execute(args))
        sys.stdout.flush()  # Here, so that a closed pipe is handled below.
        return code
    except StrictuneError as error:
        _print_error(str(error))
        return EXIT_FAILED_TRIALS if isinstance(error, TrialError) else EXIT_BAD_INPUT
    except BrokenPipeError:
        # The reader of our output, such as ``head``, has ended. Python would fail again when it
        # flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        logger.info("the command was ended by an error", exc_info=error)
        _print_error(_system_error(error))
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _replace_unencodable() -> None:
    """Print a replacement for characters that the terminal cannot show, and for lone surrogates."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _print_error(text: str) -> None:
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)


def _system_error(error: OSError) -> str:
    """Return the message for an error of the operating system, with its path if it has one."""
    if error.filename is None or error.strerror is None:
        return f"{type(error).__name__}: {error}"
    return (
        f"{error.filename}: {error.strerror}. Look at that path, who may write to it and the "
        "room on its disk, or name another one."
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; a verb's module is imported when the verb is parsed."""
    width = max(len(verb.name) for verb in VERBS)
    verbs = "\n".join(f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS)
    examples = "\n".join(f"  {verb.example}" for verb in VERBS)
    parser = argparse.ArgumentParser(
        prog="strictune",
        usage="strictune VERB ...",
        description="Sweeps of GRPO fine-tuning, from a sweep file to verdicts.",
        epilog=f"verbs (each has its own --help):\n{verbs}\n\nexamples:\n{examples}\n\n"
        "exit codes: 0 done, 1 some trials failed, 2 bad input or unusable files, "
        "130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"strictune {__version__}")
    parser.set_defaults(execute=None)
    subparsers = parser.add_subparsers(
        prog="strictune", metavar="VERB", help=argparse.SUPPRESS, parser_class=_VerbParser
    )
    for verb in VERBS:
        subparsers.add_parser(verb.name, verb=verb)
    return parser


class _VerbParser(argparse.ArgumentParser):
    """Parses the arguments of one verb, and imports its module first."""

    def __init__(self, *, verb: Verb, **options: Any) -> None:
        super().__init__(
            description=verb.summary,
            epilog=f"example:\n  {verb.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )
        self._verb = verb

    def add_subparsers(self, **options: Any) -> Any:
        return super().add_subparsers(parser_class=argparse.ArgumentParser, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.get_default("execute") is None:
            module = importlib.import_module(f"strictune.cli.{self._verb.name}")
            module.configure(self)
            self.set_defaults(execute=module.execute)
        return super().parse_known_args(args, namespace)
