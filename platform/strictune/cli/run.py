"""``strictune run``: start or resume a sweep, and say what helped."""

import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO

from strictune.cli.arguments import add_sweep_options
from strictune.cli.terminal import print_json, shown_progress
from strictune.errors import SpecError

if TYPE_CHECKING:
    from analysis import SweepVerdicts
    from analysis.study import Findings
    from strictune.config import SweepSpec, TrialSpec
    from strictune.launch.folder import SweepFolder
    from strictune.launch.sweep import SweepEnd

__all__ = ["configure", "execute"]

logger = logging.getLogger(__name__)

EXIT_FAILED_TRIALS = 1
PROGRESS_EVERY_S = 15.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_sweep_options(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the sweep in its folder; start it if there is none",
    )
    parser.add_argument(
        "--retry",
        action="store_true",
        help="with --resume, run trials again that failed or were stopped",
    )
    parser.add_argument(
        "--trials",
        metavar="N",
        help="points of each study of a search; +N adds to those it has, with --resume",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where results go: DIR/<sweep>/ (default: runs)",
    )
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store (default: MLFLOW_TRACKING_URI, else where the sweep was tracked, "
        "else DIR/mlflow.db)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print how it ended, verdicts and costs as JSON; progress goes to standard error",
    )


def execute(args: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from strictune.config import expand, load_sweep
    from strictune.planning import check_tasks, parse_only, select

    sweep = load_sweep(args.sweep, args.overrides)
    if args.trials is not None:
        args.overrides.append(f"search.num_trials={_num_points(args.trials, args.out, sweep)}")
        sweep = load_sweep(args.sweep, args.overrides)
    planned = expand(sweep)
    trials = select(planned, parse_only(args.only))
    with shown_progress("rows") as on_progress:
        check_tasks(trials, on_progress)

    # Ray, MLflow and pandas are imported once the input is known to be good.
    from strictune.cache import writable_cache_folder
    from strictune.cli.closing import promote_best
    from strictune.launch.changes import check_scorer
    from strictune.launch.driver import locked
    from strictune.launch.folder import (
        SweepFolder,
        open_sweep_folder,
        refuse_temporary_folder,
        reopen_trials,
    )
    from strictune.tracking import read_identity, runs_page, tracking_uri_for, without_password

    refuse_temporary_folder(args.out)
    writable_cache_folder("baselines")
    folder = SweepFolder((args.out / sweep.name).resolve())
    warnings = check_scorer(sweep, trials, folder.path, is_retrying=args.retry)
    tell = partial(_write, stream=sys.stderr if args.json else sys.stdout)
    with locked(folder):
        changes = open_sweep_folder(folder.path, sweep, planned, is_resuming=args.resume).changes
        _log_to(folder.log)
        tracking_uri = tracking_uri_for(folder.path, args.tracking_uri)
        shown_uri = without_password(tracking_uri)
        resume = _resume_command(args, shown_uri=shown_uri)
        tell(f"results: {folder.path}\ntracking: {shown_uri}")
        tell(f"to resume: {resume}")
        known = [f"changed since the last run: {change}" for change in changes]
        if args.retry:
            num_reopened = reopen_trials(folder, sweep, trials)
            known.append(f"running {num_reopened} trials again that failed or were stopped")
        for line in (*known, *warnings):
            tell(line)
        ran = _run(sweep, trials, folder, tracking_uri=tracking_uri, tell=tell)
        _show(sweep, trials, folder, ran, as_json=args.json)
        if not ran.is_delivered:
            tell(f"MLflow did not get everything; later: strictune track replay {folder.path}")
        elif not ran.end.is_interrupted:
            promote_best(folder.path, tracking_uri, ran.verdicts, tell=tell)
        if page := runs_page(read_identity(folder.path), tracking_uri):
            tell(f"its runs in MLflow: {page}")
            if not tracking_uri.startswith("http"):
                tell(f"to serve that page: mlflow ui --backend-store-uri {shlex.quote(shown_uri)}")
    if ran.end.is_interrupted:
        tell(f"{ran.end.num_by_state['open']} trials have not ended; go on with: {resume}")
    return 0 if ran.end.is_clean else EXIT_FAILED_TRIALS


class _Ran(NamedTuple):
    """The results of one run of a sweep."""

    end: "SweepEnd"
    verdicts: "SweepVerdicts"
    findings: "Findings | None"
    """What a search has found; None without one."""
    is_delivered: bool
    """The tracking store has everything."""
    seconds: float


def _run(
    sweep: "SweepSpec",
    trials: Sequence["TrialSpec"],
    folder: "SweepFolder",
    *,
    tracking_uri: str,
    tell: Callable[[str], None],
) -> _Ran:
    from analysis import write_verdicts
    from analysis.study import write_findings
    from strictune.cost_cache import CostCache, remember_costs
    from strictune.launch.search import run_search
    from strictune.launch.sweep import run_sweep
    from strictune.tracking import Mirror, MirrorThread

    def say(line: str) -> None:
        tell(f"{time.strftime('%H:%M:%S')} {line}")

    mirror = MirrorThread(Mirror(folder.path, tracking_uri))
    mirror.start()
    started = time.monotonic()
    status: Literal["FINISHED", "FAILED", "KILLED"] | None = None
    try:
        run = run_sweep if sweep.search is None else run_search
        end = run(sweep, trials, folder, say=say, every_s=PROGRESS_EVERY_S)
        # Not from the plan: trials that --only left out are open without being interrupted.
        status = end.status
        verdicts = write_verdicts(folder.path)
        findings = None if sweep.search is None else write_findings(folder.path)
        remember_costs(folder.path, CostCache())
    finally:
        is_delivered = mirror.stop(status)
    return _Ran(end, verdicts, findings, is_delivered, time.monotonic() - started)


def _show(
    sweep: "SweepSpec",
    trials: Sequence["TrialSpec"],
    folder: "SweepFolder",
    ran: _Ran,
    *,
    as_json: bool,
) -> None:
    """Print what helped and what it took."""
    from analysis.costs import compare_costs
    from analysis.records import SweepRecords
    from analysis.study import findings_document, findings_lines
    from strictune.cli.closing import closing_document, print_closing, print_costs, print_verdicts

    costs = compare_costs(SweepRecords(folder.path))
    if as_json:
        document = closing_document(ran.verdicts, costs, ran.end, seconds=ran.seconds)
        if ran.findings is not None:
            document["findings"] = findings_document(ran.findings)
        print_json(document)
        return
    print_verdicts(ran.verdicts)
    for line in findings_lines(ran.findings) if ran.findings is not None else ():
        print(f"- {line}")
    print_costs(costs)
    print_closing(sweep, trials, seconds=ran.seconds)


def _write(line: str, stream: TextIO) -> None:
    """Print a line; a closed terminal or pipe is logged and ignored from then on.

    The signals that close them end the sweep too, which still has to stop its trials and to bring
    MLflow up to date.
    """
    try:
        print(line, file=stream, flush=True)
    except OSError as error:
        logger.info("the output cannot be written any more (%s), from here on: %s", error, line)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _num_points(text: str, out: Path, sweep: "SweepSpec") -> int:
    """Read ``--trials``: N, or +N on top of what the sweep's folder says."""
    from strictune.config import load_sweep

    if sweep.search is None:
        raise SpecError(f"--trials {text}: {sweep.name} has no search.")
    written = out / sweep.name / "sweep.yaml"
    before = load_sweep(written).search if written.exists() else None
    if not text.removeprefix("+").isdigit():
        raise SpecError(f"--trials {text}: expected N or +N, e.g. --trials +20.")
    if not text.startswith("+"):
        return int(text)
    return int(text) + (sweep.search if before is None else before).num_trials


def _resume_command(args: argparse.Namespace, *, shown_uri: str) -> str:
    parts = ["strictune", "run", args.sweep]
    for text in args.overrides:
        parts += ["--set", text]
    for text in args.only:
        parts += ["--only", text]
    if args.out != Path("runs"):
        parts += ["--out", str(args.out)]
    if args.tracking_uri is not None:
        parts += ["--tracking-uri", shown_uri]
    return shlex.join([*parts, "--resume"])


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    errors = logging.StreamHandler(sys.stderr)
    errors.setLevel(logging.ERROR)
    # Ray's account of a lost process goes to the log only; the progress lines have it in short.
    errors.addFilter(lambda record: record.name.partition(".")[0] != "ray")
    root.addHandler(errors)
