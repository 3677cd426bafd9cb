"""What a cluster is sent for a sweep: the command line, the files and the variables of its job.

The files are this checkout, less what ``cluster_configs/job.yaml`` and ``.gitignore`` leave out.
Variables of this shell go along only if the user names them: Ray keeps them in the job's record
and in its logs on the cluster.
"""

import json
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from strictune.config.yaml_text import parse_yaml
from strictune.errors import SpecError, StorageError
from strictune.launch.job_upload import path_in_upload
from strictune.tracking import without_password

__all__ = [
    "JobRequest",
    "RunOptions",
    "checkout",
    "job_request",
    "named_variables",
    "names_a_secret",
    "refuse_temporary_folder",
]

RUNTIME_ENVIRONMENT = "cluster_configs/job.yaml"
GIT_SHA_VARIABLE = "STRICTUNE_GIT_SHA"
"""Tells the job which commit it is; the upload holds no ``.git``."""

SHORTEST_SECRET = 4
"""Characters; hiding every 1 would make a message unreadable."""
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells a job's command about the job (``ray._private.runtime_env.constants``)."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_WORDS = frozenset({"TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIALS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``strictune run`` that a job takes, as they were given."""

    out: Path
    """Absolute, and the same folder on every machine of the cluster."""
    overrides: Sequence[str] = ()
    only: Sequence[str] = ()
    is_resuming: bool = False
    is_retrying: bool = False
    num_points: str | None = None
    """``--trials``: N, or +N."""
    tracking_uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job, ready to be submitted."""

    job_id: str
    entrypoint: str
    """The command line that the cluster's head node runs."""
    runtime_env: Mapping[str, Any] = field(repr=False)
    """Ray's runtime environment."""
    variables: Mapping[str, str] = field(repr=False)
    """The part of its variables that the user named; they may be secrets."""

    def without_values(self, text: str) -> str:
        """Return a text in which no value of ``variables`` can be read."""
        for value in sorted(self.variables.values(), key=len, reverse=True):
            if len(value) >= SHORTEST_SECRET:
                text = text.replace(value, "***")
        return text


def checkout() -> Path:
    """Return the root of the checkout that this package is imported from.

    Raises:
        SpecError: strictune is installed without its checkout, so there is nothing to send.
    """
    root = Path(__file__).resolve().parents[3]
    if (root / RUNTIME_ENVIRONMENT).is_file() and (root / "trainables").is_dir():
        return root
    raise SpecError(
        f"{root} is no checkout of strictune (it has no {RUNTIME_ENVIRONMENT}), so there is "
        "nothing to send. Run the command from a checkout installed with `make install`."
    )


def job_request(
    name: str,
    file: Path,
    options: RunOptions,
    *,
    variables: Mapping[str, str],
    root: Path,
) -> JobRequest:
    """Return the job that runs the sweep ``file``, called ``name``, of the checkout ``root``.

    Raises:
        SpecError: The job could not start, not find the file, or would lose its results.
    """
    _refuse_lost_results(options, variables)
    _refuse_shadows(root)
    environment = parse_yaml(
        (root / RUNTIME_ENVIRONMENT).read_text(encoding="utf-8"), where=RUNTIME_ENVIRONMENT
    )
    environment["working_dir"] = str(root / environment["working_dir"])
    environment["py_modules"] = [str(root / path) for path in environment["py_modules"]]
    excludes = environment.get("excludes", [])
    sent = path_in_upload(file, root, excludes=excludes, source=RUNTIME_ENVIRONMENT)
    sha = _git_sha(root)
    commit = {GIT_SHA_VARIABLE: sha} if sha else {}
    environment["env_vars"] = {**environment["env_vars"], **commit, **variables}
    return JobRequest(
        job_id=f"{name}-{secrets.token_hex(4)}",
        entrypoint=shlex.join(_command(sent, options)),
        runtime_env=environment,
        variables=variables,
    )


def named_variables(named: Sequence[str], shell: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the user sends along: ``NAME`` from the shell, or ``NAME=VALUE``.

    Raises:
        SpecError: A name is Ray's or not set, or a secret stands on the command line.
    """
    found = {}
    for text in named:
        name, equals, value = text.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise SpecError("--env: expected NAME or NAME=VALUE, e.g. --env HF_TOKEN.")
        if name.startswith("RAY_") or name == "PYTHONPATH":
            raise SpecError(f"--env {name}: Ray sets it inside a job; leave it out.")
        found[name] = _given(name, value) if equals else _from_shell(name, shell)
    return found


def names_a_secret(variable: str) -> bool:
    """Say whether a variable of this name usually holds one."""
    return not _SECRET_WORDS.isdisjoint(variable.upper().split("_"))


def refuse_temporary_folder(out: Path, environment: Mapping[str, str]) -> None:
    """Refuse a results folder inside the copy of the checkout that a Ray job runs in.

    Ray deletes that copy after the job. Outside a job everything is allowed.

    Raises:
        StorageError: The results would be lost.
    """
    job = json.loads(environment.get(JOB_VARIABLE, "{}"))
    working_dir = (job.get("runtime_env") or {}).get("working_dir") or ""
    is_copy = urlsplit(working_dir).scheme not in ("", "local")
    if is_copy and out.resolve().is_relative_to(Path.cwd()):
        raise StorageError(
            f"--out {out}: this is a Ray job, and {out.resolve()} lies in its working directory, "
            "which Ray deletes. Give an absolute folder that all machines of the cluster share, "
            "e.g. --out /shared/runs."
        )


def _command(file: Path, options: RunOptions) -> list[str]:
    command = ["python", "-m", "strictune", "run", file.as_posix()]
    for text in options.overrides:
        command += ["--set", text]
    for text in options.only:
        command += ["--only", text]
    command += ["--out", options.out.as_posix()]
    if options.tracking_uri is not None:
        command += ["--tracking-uri", options.tracking_uri]
    if options.is_resuming:
        command.append("--resume")
    if options.is_retrying:
        command.append("--retry")
    if options.num_points is not None:
        command += ["--trials", options.num_points]
    return command


def _refuse_lost_results(options: RunOptions, variables: Mapping[str, str]) -> None:
    if not options.out.is_absolute():
        raise SpecError(
            f"--out {options.out}: a job runs in a temporary folder of the cluster, so a relative "
            "path would lose the results. Give an absolute folder that all machines of the "
            "cluster share, e.g. --out /shared/runs."
        )
    uris = {
        "--tracking-uri": options.tracking_uri,
        "--env MLFLOW_TRACKING_URI": variables.get("MLFLOW_TRACKING_URI"),
    }
    for option, uri in uris.items():
        if uri and _is_relative(uri):
            raise SpecError(
                f"{option}: {without_password(uri)} is relative to the temporary folder that a job "
                "runs in. Give a server, or sqlite://// and an absolute path; without one the runs "
                "go to mlflow.db in --out."
            )
    if options.tracking_uri and without_password(options.tracking_uri) != options.tracking_uri:
        raise SpecError(
            "--tracking-uri: the address carries a password, and a job's command line is logged. "
            "Leave it out of the address, and send it with --env MLFLOW_TRACKING_USERNAME "
            "--env MLFLOW_TRACKING_PASSWORD."
        )


def _refuse_shadows(root: Path) -> None:
    """Refuse modules in the root that hide Python's own, which leave a job PENDING for ever."""
    found = [*root.glob("*.py"), *(path.parent for path in root.glob("*/__init__.py"))]
    hidden = sorted(path.name for path in found if path.stem in sys.stdlib_module_names)
    if hidden:
        raise SpecError(
            f"{root / hidden[0]} hides a module of Python's own from everything that runs in the "
            "checkout, Ray's workers included: the job would stay PENDING. Rename it, or remove "
            "its __init__.py."
        )


def _is_relative(tracking_uri: str) -> bool:
    parts = urlsplit(tracking_uri)
    if parts.scheme.partition("+")[0] == "sqlite":
        return not parts.path.startswith("//")
    is_path = parts.scheme in ("", "file") and tracking_uri != "databricks"
    return is_path and not parts.path.startswith("/")


def _given(name: str, value: str) -> str:
    if names_a_secret(name) or without_password(value) != value:
        raise SpecError(
            f"--env {name}=...: other users of this machine can read a command line. Export "
            f"{name} and give --env {name}."
        )
    return value


def _from_shell(name: str, shell: Mapping[str, str]) -> str:
    if name not in shell:
        raise SpecError(f"--env {name}: {name} is not set here. Export it, or leave it out.")
    value = shell[name]
    if "$" in value:
        # Ray expands variables in values, on the cluster; it knows no way to quote a dollar.
        raise SpecError(
            f"--env {name}: its value holds a dollar sign, which Ray would expand on the cluster. "
            "Set it there, before `ray start`."
        )
    return value


def _git_sha(root: Path) -> str | None:
    """Return the commit of the checkout, with ``+dirty`` if tracked files differ."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(
            [*command, "--dirty=+dirty"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None
