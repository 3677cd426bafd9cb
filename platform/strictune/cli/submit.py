"""``strictune submit``: run a sweep on a cluster, as a Ray job."""

import argparse
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from strictune.cli.verb import Verb, add_resume_options, add_sweep_options
from strictune.config import expand, load_sweep
from strictune.plan import parse_only, select

if TYPE_CHECKING:
    from strictune.launch.job_access import JobAccess
    from strictune.launch.job_request import JobRequest, RunOptions

__all__ = ["VERB"]

EXIT_NOT_ENDED = 1
START_TIMEOUT_S = 300.0
OFFERED = ("HF_", "MLFLOW_TRACKING_")
"""Variables of which the user is told that they stay here."""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_sweep_options(parser)
    parser.add_argument(
        "--address",
        required=True,
        metavar="URL",
        help="the cluster's job server, e.g. http://127.0.0.1:8265",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where results go on the cluster: an absolute folder that its machines share",
    )
    add_resume_options(parser)
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store (default: DIR/mlflow.db)"
    )
    parser.add_argument(
        "--env",
        dest="variables",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="send this variable, e.g. HF_HOME=/shared/hf, or HF_TOKEN from this shell; "
        "repeatable. Ray keeps it in the job's record and in its logs on the cluster",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the cluster's token (default: RAY_AUTH_TOKEN_PATH, RAY_AUTH_TOKEN or, on this "
        "machine, ~/.ray/auth_token)",
    )
    parser.add_argument(
        "--no-wait", action="store_true", help="return once the job is submitted; do not follow it"
    )
    parser.add_argument(
        "--start-timeout",
        type=float,
        default=START_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long the job may be PENDING (default: {START_TIMEOUT_S:g})",
    )


def _execute(args: argparse.Namespace) -> int:
    sweep = load_sweep(args.sweep, args.overrides)
    select(expand(sweep), parse_only(args.only))

    # Ray is imported once the input is known to be good.
    from strictune.launch.job_access import job_access
    from strictune.launch.job_request import checkout, job_request, named_variables
    from strictune.launch.jobs import JobServer

    access = job_access(
        args.address, token_file=args.token_file, shell=os.environ, home=Path.home()
    )
    request = job_request(
        sweep.name,
        Path(args.sweep),
        _run_options(args),
        variables=named_variables(args.variables, os.environ),
        root=checkout(),
    )
    for note in _notes(access, request):
        print(f"note: {note}")
    server = JobServer.connect(access)
    print(f"submitting to {access.address}: {request.entrypoint}", flush=True)
    server.submit(request)
    commands = server.commands(request.job_id)
    print(f"job: {request.job_id}\n{commands}\nto resume: {_resume_command(args)}", flush=True)
    if args.no_wait:
        return 0
    try:
        end = server.follow(request.job_id, _write, start_timeout_s=args.start_timeout)
    except KeyboardInterrupt:
        print(f"\nno longer following; {request.job_id} goes on.\n{commands}")
        return EXIT_NOT_ENDED
    print(end.message)
    return end.exit_code


def _run_options(args: argparse.Namespace) -> "RunOptions":
    from strictune.launch.job_request import RunOptions

    return RunOptions(
        out=args.out,
        overrides=args.overrides,
        only=args.only,
        is_resuming=args.resume,
        is_retrying=args.retry,
        num_points=args.trials,
        tracking_uri=args.tracking_uri,
    )


def _notes(access: "JobAccess", request: "JobRequest") -> Iterator[str]:
    from strictune.launch.job_request import names_a_secret

    if access.is_in_clear:
        yield (
            "the token crosses the network unencrypted; prefer https or a tunnel "
            "(ssh -L 8265:127.0.0.1:8265 HEAD)."
        )
    for name in filter(names_a_secret, request.variables):
        yield f"Ray keeps {name} in the job's record and in its logs on the cluster."
    sent = request.runtime_env["env_vars"]
    kept = sorted(name for name in os.environ if name.startswith(OFFERED) and name not in sent)
    if kept:
        yield f"not sent along: {', '.join(kept)}. To send a variable: --env NAME."


def _resume_command(args: argparse.Namespace) -> str:
    parts = ["strictune", "submit", args.sweep, "--address", args.address, "--out", str(args.out)]
    for option, values in (
        ("--set", args.overrides),
        ("--only", args.only),
        ("--env", args.variables),
    ):
        for value in values:
            parts += [option, value]
    if args.tracking_uri is not None:
        parts += ["--tracking-uri", args.tracking_uri]
    if args.token_file is not None:
        parts += ["--token-file", str(args.token_file)]
    return shlex.join([*parts, "--resume"])


def _write(text: str) -> None:
    print(text, end="", flush=True)


VERB = Verb(
    name="submit",
    summary="run a sweep on a Ray cluster, as a job",
    example="strictune submit search_spaces/quickstart.yaml --address http://127.0.0.1:8265 "
    "--out /shared/runs",
    configure=_configure,
    execute=_execute,
)
